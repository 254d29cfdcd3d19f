//! The subset of JSON Schema that strict structured output takes.
//!
//! Codex sends a schema as it is and only the service judges it, so this is where a schema is found wrong without an
//! account. It refuses what the service is known to refuse, in the service's words, and where reports differ it refuses.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Keywords that any schema may carry.
const PERMITTED: &[&str] = &[
    "$defs",
    "$ref",
    "$schema",
    "additionalProperties",
    "anyOf",
    "const",
    "definitions",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maximum",
    "minItems",
    "minimum",
    "multipleOf",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
];
const TYPES: &[&str] = &["string", "number", "boolean", "integer", "object", "array", "null"];
const FORMATS: &[&str] = &["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];

// The service's published limits.
const MOST_PROPERTIES: usize = 5000;
const MOST_LEVELS: usize = 10;
const MOST_ENUM_VALUES: usize = 1000;
const MOST_CHARACTERS: usize = 120_000;
const LARGE_ENUM: usize = 250;
const LARGE_ENUM_CHARACTERS: usize = 15_000;

/// Checks a schema for an answer.
///
/// Returns the service's complaint, without its leading "Invalid schema for response_format 'NAME': ", for the first
/// fault found.
pub fn check(schema: &Value) -> Result<(), String> {
    let Some(root) = schema.as_object() else {
        return Err(format!("{} is not of type 'object', 'boolean'.", python(schema)));
    };
    if root.get("type") != Some(&Value::from("object")) {
        let got = match root.get("type") {
            None => "None".to_owned(),
            Some(Value::String(kind)) => kind.clone(),
            Some(other) => python(other),
        };
        return Err(format!("schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{got}\"'."));
    }
    if root.contains_key("anyOf") {
        return Err(at(&[], "'anyOf' is not permitted."));
    }
    let mut checker = Checker { root, properties: 0, enum_values: 0, characters: 0 };
    checker.schema(schema, &mut Vec::new())?;
    let levels = depth(schema, root, &mut BTreeSet::new());
    if levels > MOST_LEVELS {
        return Err(format!("{levels} levels of nesting exceeds limit of {MOST_LEVELS}."));
    }
    let sums = [
        (checker.properties, MOST_PROPERTIES, "object properties"),
        (checker.enum_values, MOST_ENUM_VALUES, "enum values"),
        (checker.characters, MOST_CHARACTERS, "characters in names and values"),
    ];
    match sums.into_iter().find(|(sum, most, _)| sum > most) {
        Some((sum, most, what)) => Err(format!("the schema has {sum} {what}, which exceeds the limit of {most}.")),
        None => Ok(()),
    }
}

/// Puts the place in front of a complaint, written as the service writes it: as a Python tuple.
fn at(place: &[String], complaint: &str) -> String {
    let parts = place.iter().map(|part| format!("'{part}'")).collect::<Vec<_>>().join(", ");
    let comma = if place.len() == 1 { "," } else { "" };
    format!("In context=({parts}{comma}), {complaint}")
}

/// Writes a value as Python would: the service's messages show values that way.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("'{text}'"),
        Value::Array(values) => format!("[{}]", values.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| format!("'{key}': {}", python(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

struct Checker<'a> {
    root: &'a Map<String, Value>,
    properties: usize,
    enum_values: usize,
    characters: usize,
}

impl Checker<'_> {
    fn schema(&mut self, schema: &Value, place: &mut Vec<String>) -> Result<(), String> {
        let Some(map) = schema.as_object() else {
            let complaint = if schema.is_boolean() {
                "schema must have a 'type' key.".to_owned()
            } else {
                format!("{} is not of type 'object', 'boolean'.", python(schema))
            };
            return Err(at(place, &complaint));
        };
        if let Some(target) = map.get("$ref") {
            return self.reference(map, target, place);
        }
        if let Some(keyword) = map.keys().find(|keyword| !PERMITTED.contains(&keyword.as_str())) {
            return Err(at(place, &format!("'{keyword}' is not permitted.")));
        }
        let types = types(map, place)?;
        let is = |kind: &str| types.iter().any(|known| known == kind);
        if let Some(format) = map.get("format")
            && !format.as_str().is_some_and(|format| FORMATS.contains(&format))
        {
            return Err(at(place, &format!("{} is not a valid format.", python(format))));
        }
        self.values(map, place)?;
        if is("object") || map.contains_key("properties") {
            self.object(map, place)?;
        }
        if is("array") && !map.contains_key("items") {
            return Err(at(place, "array schema missing items."));
        }
        if let Some(items) = map.get("items") {
            self.inner(items, place, &["items"])?;
        }
        if let Some(options) = map.get("anyOf") {
            let Some(options) = options.as_array().filter(|options| !options.is_empty()) else {
                return Err(at(place, &format!("{} is not a non-empty array.", python(options))));
            };
            for (index, option) in options.iter().enumerate() {
                self.inner(option, place, &["anyOf", &index.to_string()])?;
            }
        }
        for store in ["$defs", "definitions"] {
            for (name, definition) in map.get(store).and_then(Value::as_object).into_iter().flatten() {
                self.characters += name.chars().count();
                self.inner(definition, place, &[store, name])?;
            }
        }
        Ok(())
    }

    fn inner(&mut self, schema: &Value, place: &mut Vec<String>, parts: &[&str]) -> Result<(), String> {
        place.extend(parts.iter().map(|part| (*part).to_owned()));
        self.schema(schema, place)?;
        place.truncate(place.len() - parts.len());
        Ok(())
    }

    fn reference(&self, map: &Map<String, Value>, target: &Value, place: &[String]) -> Result<(), String> {
        let others: Vec<_> = map.keys().filter(|key| *key != "$ref").map(|key| format!("'{key}'")).collect();
        if !others.is_empty() {
            return Err(at(place, &format!("$ref cannot have keywords {{{}}}.", others.join(", "))));
        }
        if target.as_str().and_then(|target| resolve(self.root, target)).is_none() {
            return Err(at(place, &format!("reference to unknown definition {}.", python(target))));
        }
        Ok(())
    }

    /// Checks and counts `enum` and `const`.
    fn values(&mut self, map: &Map<String, Value>, place: &[String]) -> Result<(), String> {
        let characters = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
        if let Some(values) = map.get("enum") {
            let Some(values) = values.as_array().filter(|values| !values.is_empty()) else {
                return Err(at(place, &format!("{} is not a non-empty array.", python(values))));
            };
            let sum = values.iter().map(characters).sum::<usize>();
            if values.len() > LARGE_ENUM && sum > LARGE_ENUM_CHARACTERS {
                let complaint =
                    format!("enum of {} values has {sum} characters, more than {LARGE_ENUM_CHARACTERS}.", values.len());
                return Err(at(place, &complaint));
            }
            self.enum_values += values.len();
            self.characters += sum;
        }
        self.characters += map.get("const").map_or(0, characters);
        Ok(())
    }

    fn object(&mut self, map: &Map<String, Value>, place: &mut Vec<String>) -> Result<(), String> {
        if map.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Err(at(place, "'additionalProperties' is required to be supplied and to be false."));
        }
        let none = Map::new();
        let properties = map.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let complain = |detail: &str| {
            let rule = "'required' is required to be supplied and to be an array including every key in properties.";
            Err(at(place, &format!("{rule} {detail}")))
        };
        let required: Vec<&str> =
            map.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        if let Some(missing) = properties.keys().find(|key| !required.contains(&key.as_str())) {
            return complain(&format!("Missing '{missing}'."));
        }
        if let Some(extra) = required.iter().find(|key| !properties.contains_key(**key)) {
            return complain(&format!("Extra required key '{extra}' supplied."));
        }
        self.properties += properties.len();
        for (name, property) in properties {
            self.characters += name.chars().count();
            self.inner(property, place, &["properties", name])?;
        }
        Ok(())
    }
}

/// Reads the `type` of a schema that is no reference.
fn types(map: &Map<String, Value>, place: &[String]) -> Result<Vec<String>, String> {
    let listed = match map.get("type") {
        None if map.contains_key("anyOf") => return Ok(Vec::new()),
        None => return Err(at(place, "schema must have a 'type' key.")),
        Some(Value::Array(kinds)) if !kinds.is_empty() => kinds.clone(),
        Some(kind) => vec![kind.clone()],
    };
    listed
        .into_iter()
        .map(|kind| match kind {
            Value::String(kind) if TYPES.contains(&kind.as_str()) => Ok(kind),
            other => Err(at(place, &format!("{} is not valid under any of the given schemas.", python(&other)))),
        })
        .collect()
}

/// Finds what a reference points at: the root or a definition at the top level.
fn resolve<'a>(root: &'a Map<String, Value>, target: &str) -> Option<&'a Value> {
    if target == "#" {
        // The root is looked at anyway; any of its values stands for "known".
        return root.get("type");
    }
    let (store, name) = target.strip_prefix("#/")?.split_once('/')?;
    if !matches!(store, "$defs" | "definitions") {
        return None;
    }
    root.get(store)?.get(name.replace("~1", "/").replace("~0", "~"))
}

/// Levels of objects within objects. A recursive reference adds none.
fn depth<'a>(schema: &'a Value, root: &'a Map<String, Value>, following: &mut BTreeSet<&'a str>) -> usize {
    if let Some(target) = schema["$ref"].as_str() {
        if target == "#" || !following.insert(target) {
            return 0;
        }
        let levels = resolve(root, target).map_or(0, |schema| depth(schema, root, following));
        following.remove(target);
        return levels;
    }
    let own = usize::from(schema["properties"].is_object());
    let properties = schema["properties"].as_object().into_iter().flat_map(Map::values);
    let options = schema["anyOf"].as_array().into_iter().flatten();
    let inner = properties.chain(options).chain(schema.get("items"));
    own + inner.map(|inner| depth(inner, root, following)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A strict root around one property.
    fn around(property: &Value) -> Value {
        json!({"type": "object", "additionalProperties": false, "required": ["x"], "properties": {"x": property}})
    }

    fn complaint(property: &Value) -> String {
        check(&around(property)).unwrap_err()
    }

    #[test]
    fn the_whole_permitted_subset_passes() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "T", "type": "object", "description": "d",
            "additionalProperties": false, "required": ["a", "b", "c", "d", "e", "f"],
            "properties": {
                "a": {"type": ["string", "null"], "pattern": "^a", "format": "date"},
                "b": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"$ref": "#/$defs/node"}},
                "c": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "d": {"type": "number", "minimum": 0, "maximum": 1, "exclusiveMinimum": -1, "exclusiveMaximum": 2, "multipleOf": 0.1},
                "e": {"type": "string", "enum": ["x", "y"]},
                "f": {"type": "string", "const": "only"},
            },
            "$defs": {"node": {"type": "object", "additionalProperties": false, "required": ["next"],
                "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"$ref": "#"}, {"type": "null"}]}}}},
        });
        assert_eq!(check(&schema), Ok(()));
    }

    #[test]
    fn the_root_must_be_a_plain_object() {
        let refused =
            |got: &str| Err(format!("schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{got}\"'."));
        assert_eq!(check(&json!({"type": "array", "items": {"type": "string"}})), refused("array"));
        assert_eq!(check(&json!({"anyOf": []})), refused("None"));
        assert_eq!(check(&json!({"type": ["object", "null"]})), refused("['object', 'null']"));
        assert_eq!(check(&json!([])), Err("[] is not of type 'object', 'boolean'.".into()));
    }

    #[test]
    fn every_object_lists_all_its_properties_and_no_others() {
        let rule = "'required' is required to be supplied and to be an array including every key in properties.";
        let closed = "'additionalProperties' is required to be supplied and to be false.";
        let x = "In context=('properties', 'x'),";
        assert_eq!(
            check(&json!({"type": "object", "additionalProperties": false, "properties": {"a": {"type": "null"}}})),
            Err(format!("In context=(), {rule} Missing 'a'."))
        );
        let inner = |extra: Value| {
            let mut object = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
            object.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            complaint(&object)
        };
        assert_eq!(inner(json!({})), format!("{x} {closed}"));
        assert_eq!(inner(json!({"additionalProperties": true})), format!("{x} {closed}"));
        assert_eq!(inner(json!({"additionalProperties": {"type": "string"}})), format!("{x} {closed}"));
        assert_eq!(
            inner(json!({"additionalProperties": false, "required": ["a", "b"]})),
            format!("{x} {rule} Extra required key 'b' supplied.")
        );
        assert_eq!(
            check(&json!({"type": "object", "additionalProperties": false, "properties": {}, "required": [],
                "$defs": {"d": {"type": "object"}}})),
            Err(format!("In context=('$defs', 'd'), {closed}"))
        );
    }

    #[test]
    fn keywords_outside_the_subset_are_refused_by_name() {
        for keyword in [
            "oneOf",
            "allOf",
            "not",
            "if",
            "then",
            "else",
            "dependentRequired",
            "uniqueItems",
            "contains",
            "patternProperties",
            "propertyNames",
            "minProperties",
            "maxProperties",
            "unevaluatedProperties",
            "prefixItems",
            "minLength",
            "maxLength",
            "default",
            "examples",
        ] {
            let mut property = json!({"type": "string"});
            property[keyword] = json!([]);
            assert_eq!(complaint(&property), format!("In context=('properties', 'x'), '{keyword}' is not permitted."));
        }
    }

    #[test]
    fn shapes_that_name_no_type_are_refused() {
        let refused = "In context=('properties', 'x'), schema must have a 'type' key.";
        for property in
            [json!({}), json!({"const": "a"}), json!({"description": "d"}), json!({"enum": ["a"]}), json!(true)]
        {
            assert_eq!(complaint(&property), refused);
        }
    }

    #[test]
    fn details_are_named_with_their_place() {
        let cases = [
            (
                json!({"type": "string", "format": "uri"}),
                "In context=('properties', 'x'), 'uri' is not a valid format.",
            ),
            (json!({"type": "array"}), "In context=('properties', 'x'), array schema missing items."),
            (
                json!({"type": "array", "items": [{"type": "string"}]}),
                "In context=('properties', 'x', 'items'), [{'type': 'string'}] is not of type 'object', 'boolean'.",
            ),
            (
                json!({"$ref": "#", "description": "d"}),
                "In context=('properties', 'x'), $ref cannot have keywords {'description'}.",
            ),
            (
                json!({"$ref": "#/$defs/no"}),
                "In context=('properties', 'x'), reference to unknown definition '#/$defs/no'.",
            ),
            (
                json!({"anyOf": [{"type": "null"}, {"type": "any"}]}),
                "In context=('properties', 'x', 'anyOf', '1'), 'any' is not valid under any of the given schemas.",
            ),
        ];
        for (property, expected) in cases {
            assert_eq!(complaint(&property), expected);
        }
    }

    #[test]
    fn limits_of_size_are_kept() {
        let nested = |levels: usize| (1..levels).fold(around(&json!({"type": "null"})), |schema, _| around(&schema));
        assert_eq!(check(&nested(10)), Ok(()));
        assert!(check(&nested(11)).unwrap_err().contains("11 levels"));
        let numbered = |count: usize, width: usize| (0..count).map(|n| format!("{n:0width$}")).collect::<Vec<_>>();
        assert_eq!(check(&around(&json!({"type": "string", "enum": numbered(1000, 4)}))), Ok(()));
        assert!(complaint(&json!({"type": "string", "enum": numbered(1001, 4)})).contains("1001 enum values"));
        assert!(complaint(&json!({"type": "string", "enum": numbered(251, 60)})).contains("15060 characters"));
        assert_eq!(check(&around(&json!({"type": "string", "enum": numbered(250, 61)}))), Ok(()));
        assert!(complaint(&json!({"type": "string", "const": "c".repeat(120_001)})).contains("exceeds the limit"));
    }

    #[test]
    fn a_schema_with_the_habits_of_a_derive_macro_is_refused() {
        // Documented enum variants become `oneOf`, unsigned numbers a format of their own.
        assert!(check(schemars::schema_for!(crate::answers::Evaluation).as_value()).is_err());
    }

    fn anything() -> impl Strategy<Value = Value> {
        let key = prop_oneof![proptest::sample::select(PERMITTED).prop_map(String::from), "[a-z$]{1,4}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i8>().prop_map(Value::from),
            proptest::sample::select(&["object", "array", "string", "#", "#/$defs/a"][..]).prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_gets_a_verdict(value in anything()) {
            let _ = check(&value);
            let _ = check(&around(&value));
        }
    }
}
