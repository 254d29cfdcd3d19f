//! The schemas that answers have to fit: made from the types, in the strict subset that structured output takes.
//!
//! Strict means: every object closed, every property required (null where there is nothing to say), no keyword
//! outside the short list the provider knows. The copies in `schemas/` are for readers; a test keeps them equal.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::answers::{AgentReport, Evaluation, Ranking, Suggestion};

/// Returns the schema of an evaluation.
pub fn evaluation() -> Value {
    strict_schema::<Evaluation>()
}

/// Returns the schema of a set of proposals.
pub fn proposals() -> Value {
    strict_schema::<Suggestion>()
}

/// Returns the schema of what an agent says of its change.
pub fn agent_report() -> Value {
    strict_schema::<AgentReport>()
}

/// Returns the schema of a ranking.
pub fn ranking() -> Value {
    strict_schema::<Ranking>()
}

/// Returns the schema of a reviewer's answer.
pub fn review_answer() -> Value {
    strict_schema::<crate::review::Answer>()
}

/// Keywords of the strict subset. Lengths are left out: reports about them differ.
const KEYWORDS: [&str; 15] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "anyOf",
    "description",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
];

/// Returns the schema of any answer type in the strict subset.
///
/// The type must be a struct and must not contain itself, a map, or an enum whose variants hold data.
pub fn strict_schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tighten(&mut schema);
    schema
}

fn tighten(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    fold_documented_enum(map);
    map.retain(|keyword, _| KEYWORDS.contains(&keyword.as_str()));
    if let Some(Value::String(text)) = map.get_mut("description") {
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        let names: Vec<Value> = properties.keys().map(|name| json!(name)).collect();
        properties.values_mut().for_each(tighten);
        map.insert("required".to_owned(), Value::Array(names));
        map.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if let Some(items) = map.get_mut("items") {
        tighten(items);
    }
    if let Some(Value::Array(branches)) = map.get_mut("anyOf") {
        branches.iter_mut().for_each(tighten);
    }
}

/// An enum with documented variants comes as one branch a variant; strict output wants one list of values. What the
/// variants say about themselves moves into the description, where the model still sees it.
fn fold_documented_enum(map: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = map.get("oneOf") else { return };
    let mut values = Vec::new();
    let mut texts: Vec<String> =
        map.get("description").and_then(Value::as_str).map(str::to_owned).into_iter().collect();
    for branch in branches {
        let own: Vec<Value> = match (branch.get("const"), branch.get("enum")) {
            (Some(value), _) => vec![value.clone()],
            (None, Some(Value::Array(list))) => list.clone(),
            _ => return,
        };
        if let (Some(text), [value]) = (branch.get("description").and_then(Value::as_str), own.as_slice()) {
            texts.push(format!("{}: {text}", value.as_str().unwrap_or_default()));
        }
        values.extend(own);
    }
    map.shift_remove("oneOf");
    map.insert("type".to_owned(), json!("string"));
    map.insert("enum".to_owned(), Value::Array(values));
    map.insert("description".to_owned(), json!(texts.join(" ")));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn all() -> [(&'static str, Value); 5] {
        [
            ("agent-report", agent_report()),
            ("evaluation", evaluation()),
            ("proposals", proposals()),
            ("ranking", ranking()),
            ("review-answer", review_answer()),
        ]
    }

    /// The strict rules, written down independently of the code above. Returns what breaks them.
    fn faults(schema: &Value, path: &str, depth: usize, found: &mut Vec<String>) {
        let Some(map) = schema.as_object() else {
            found.push(format!("{path}: not an object"));
            return;
        };
        if depth > 10 {
            found.push(format!("{path}: deeper than ten levels"));
        }
        for keyword in map.keys() {
            let known = [
                "type",
                "properties",
                "required",
                "additionalProperties",
                "items",
                "enum",
                "anyOf",
                "description",
                "pattern",
                "minimum",
                "maximum",
                "exclusiveMinimum",
                "exclusiveMaximum",
                "multipleOf",
                "minItems",
                "maxItems",
            ];
            if !known.contains(&keyword.as_str()) {
                found.push(format!("{path}: {keyword} is not permitted"));
            }
        }
        if !map.contains_key("type") && !map.contains_key("anyOf") {
            found.push(format!("{path}: no type"));
        }
        let types: Vec<&str> = match &map.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if types.contains(&"object") {
            if map.get("additionalProperties") != Some(&Value::Bool(false)) {
                found.push(format!("{path}: not closed"));
            }
            let empty = Map::new();
            let properties = map.get("properties").and_then(Value::as_object).unwrap_or(&empty);
            let required: Vec<&str> =
                map.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
            if required != properties.keys().map(String::as_str).collect::<Vec<_>>() {
                found.push(format!("{path}: required does not name every property"));
            }
            for (name, property) in properties {
                faults(property, &format!("{path}/{name}"), depth + 1, found);
            }
        }
        if types.contains(&"array") {
            match map.get("items") {
                Some(items) => faults(items, &format!("{path}/items"), depth + 1, found),
                None => found.push(format!("{path}: no items")),
            }
        }
        for branch in map.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
            faults(branch, &format!("{path}/anyOf"), depth + 1, found);
        }
    }

    #[test]
    fn every_schema_keeps_the_strict_rules() {
        for (name, schema) in all() {
            assert_eq!(schema["type"], "object", "{name}");
            let mut found = Vec::new();
            faults(&schema, name, 1, &mut found);
            assert_eq!(found, Vec::<String>::new());
            jsonschema::draft202012::meta::validate(&schema).unwrap();
        }
    }

    #[test]
    fn the_rules_find_what_breaks_them() {
        let broken = json!({"type": "object", "required": [], "properties": {
            "a": {"type": "integer", "format": "uint32"}, "b": {"oneOf": []}, "c": {"type": "object"}, "d": {"type": ["array", "null"]}
        }});
        let mut found = Vec::new();
        faults(&broken, "x", 1, &mut found);
        assert_eq!(found.len(), 7, "{found:#?}");
    }

    #[test]
    fn documented_enums_and_optional_values_become_plain_types() {
        let evaluation = evaluation();
        let verdict = &evaluation["properties"]["verdict"];
        assert_eq!(verdict["enum"], json!(["goal-met", "in-progress", "blocked"]));
        assert!(verdict["description"].as_str().unwrap().contains("blocked: Nothing a patch"));
        assert_eq!(evaluation["properties"]["passingTests"]["type"], json!(["integer", "null"]));
        let issue = &evaluation["properties"]["openIssues"]["items"]["properties"];
        assert_eq!(issue["severity"]["enum"], json!(["low", "medium", "high", "critical"]));
        assert_eq!(
            proposals()["properties"]["proposals"]["items"]["properties"]["id"]["pattern"],
            "^[a-z][a-z0-9_-]*$"
        );
    }

    #[test]
    fn the_patch_comes_last_so_that_the_reasons_are_thought_of_first() {
        let proposals = proposals();
        let names = proposals["properties"]["proposals"]["items"]["properties"].as_object().unwrap();
        assert_eq!(names.keys().next_back().unwrap(), "patch");
    }

    #[test]
    fn the_files_in_schemas_are_the_types() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        for (name, schema) in all() {
            let path = folder.join(format!("{name}.json"));
            let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            // CLOOP_BLESS=1 writes the files anew after a change of the types.
            if std::env::var_os("CLOOP_BLESS").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{}", path.display());
        }
    }
}
