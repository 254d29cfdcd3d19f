//! From the text of an answer to a typed value: parsed, put in order, checked against its schema.
//!
//! Codex does not check answers, so nothing of an answer is believed before it has been through here. Only form is
//! put in order; no content is ever made up.

use std::collections::HashSet;

use serde::de::{DeserializeOwned, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Most faults named to the model at once: the first ones usually cause the rest.
const MAX_FAULTS: usize = 12;

/// Length of a faulty value in a fault's text, in characters; a whole patch would bury the fault.
const SHOWN_VALUE_CHARS: usize = 80;

/// An answer that does not fit, in words that help the model to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// One fault a line.
    pub faults: Vec<String>,
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.faults.join("\n"))
    }
}

impl std::error::Error for Misfit {}

impl Misfit {
    fn one(fault: impl Into<String>) -> Self {
        Self { faults: vec![fault.into()] }
    }
}

/// Reads an answer as `T`, which `schema` describes.
///
/// Returns what does not fit otherwise. A Markdown fence round the JSON is taken off, unknown keys are dropped, and
/// a key left out counts as null where null is allowed.
pub fn parse<T: DeserializeOwned>(text: &str, schema: &Value) -> Result<T, Misfit> {
    let mut value = parse_json(text)?;
    normalise(&mut value, schema);
    let validator =
        jsonschema::validator_for(schema).map_err(|error| Misfit::one(format!("the schema is unusable: {error}")))?;
    let mut faults: Vec<String> = Vec::new();
    for error in validator.iter_errors(&value) {
        if faults.len() == MAX_FAULTS {
            faults.push("and more".to_owned());
            break;
        }
        let place = error.instance_path().to_string();
        let place = if place.is_empty() { "the top level".to_owned() } else { place };
        let shown = error.to_string();
        faults.push(format!("at {place}: {}", shorten(&shown)));
    }
    if !faults.is_empty() {
        return Err(Misfit { faults });
    }
    serde_json::from_value(value).map_err(|error| Misfit::one(shorten(&error.to_string())))
}

/// Keeps a message's beginning and end: the value stands at one, the rule it breaks at the other.
fn shorten(text: &str) -> String {
    let count = text.chars().count();
    if count <= SHOWN_VALUE_CHARS * 3 {
        return text.to_owned();
    }
    let start: String = text.chars().take(SHOWN_VALUE_CHARS).collect();
    let end: String = text.chars().skip(count - SHOWN_VALUE_CHARS * 2).collect();
    format!("{start} … {end}")
}

fn parse_json(text: &str) -> Result<Value, Misfit> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(Misfit::one("the answer is empty"));
    }
    let read = |text: &str| serde_json::from_str(text).and_then(|UniqueKeys| serde_json::from_str(text));
    let whole = match read(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let fenced = fenced_block(text).map(read);
    match fenced {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(Misfit::one(format!("the answer is not JSON: {error}"))),
        None => Err(Misfit::one(format!("the answer is not JSON: {whole}"))),
    }
}

/// JSON in which no object has a key twice: two readers would take two meanings out of it.
struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = UniqueKeys;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("JSON")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueKeys, A::Error> {
                let mut seen = HashSet::new();
                while let Some((key, UniqueKeys)) = map.next_entry::<String, UniqueKeys>()? {
                    if seen.contains(&key) {
                        return Err(A::Error::custom(format!("the key {key:?} stands there twice")));
                    }
                    seen.insert(key);
                }
                Ok(UniqueKeys)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<UniqueKeys, A::Error> {
                while list.next_element::<UniqueKeys>()?.is_some() {}
                Ok(UniqueKeys)
            }
            fn visit_unit<E>(self) -> Result<UniqueKeys, E> {
                Ok(UniqueKeys)
            }
            fn visit_bool<E>(self, _: bool) -> Result<UniqueKeys, E> {
                Ok(UniqueKeys)
            }
            fn visit_i64<E>(self, _: i64) -> Result<UniqueKeys, E> {
                Ok(UniqueKeys)
            }
            fn visit_u64<E>(self, _: u64) -> Result<UniqueKeys, E> {
                Ok(UniqueKeys)
            }
            fn visit_f64<E>(self, _: f64) -> Result<UniqueKeys, E> {
                Ok(UniqueKeys)
            }
            fn visit_str<E>(self, _: &str) -> Result<UniqueKeys, E> {
                Ok(UniqueKeys)
            }
        }
        deserializer.deserialize_any(Walk)
    }
}

/// Returns the inside of the one Markdown fence round the JSON, words before and after it left out. The JSON may
/// itself hold fences, so the last closing one counts.
fn fenced_block(text: &str) -> Option<&str> {
    let open = if text.starts_with("```") { 0 } else { text.find("\n```")? + 1 };
    let inside = &text[open..];
    let inside = &inside[inside.find('\n')? + 1..];
    let close = inside.rfind("\n```")?;
    Some(&inside[..close])
}

/// Puts the form in order along the schema: keys the schema does not have go, keys left out become null where null
/// is allowed, and whole numbers written with a fraction of zero become integers.
fn normalise(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
            let mut ordered = Map::new();
            for (name, property) in properties {
                match map.remove(name) {
                    Some(mut inner) => {
                        normalise(&mut inner, property);
                        ordered.insert(name.clone(), inner);
                    }
                    None if allows(property, "null") => {
                        ordered.insert(name.clone(), Value::Null);
                    }
                    None => {}
                }
            }
            *map = ordered;
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for inner in list {
                    normalise(inner, items);
                }
            }
        }
        Value::Number(number) if allows(schema, "integer") && !allows(schema, "number") => {
            // Up to 2^53 a float holds every integer exactly.
            if let Some(float) = number.as_f64().filter(|_| number.is_f64())
                && float.fract() == 0.0
                && float.abs() <= 9_007_199_254_740_992.0
            {
                *value = Value::from(float as i64);
            }
        }
        _ => {}
    }
}

fn allows(schema: &Value, name: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(many)) => many.iter().any(|one| one == name),
        _ => schema.get("anyOf").and_then(Value::as_array).is_some_and(|any| any.iter().any(|one| allows(one, name))),
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;
    use crate::answers::{Evaluation, Ranking, Suggestion};
    use crate::codex::schema;

    fn evaluation() -> Value {
        json!({
            "verdict": "in-progress", "distanceFromGoal": 0.5, "openIssues": [{
                "id": "a", "severity": "high", "summary": "s", "file": null, "lineStart": null, "lineEnd": null,
                "recommendation": "r"
            }],
            "passingTests": 3, "failingTests": 1, "typeErrors": null, "lintErrors": null, "completionClaim": false,
            "rationale": "because ```rust\nlet x;\n``` is there"
        })
    }

    fn read(text: &str) -> Result<Evaluation, Misfit> {
        parse(text, &schema::evaluation())
    }

    #[test]
    fn a_plain_answer_is_read() {
        let wanted: Evaluation = serde_json::from_value(evaluation()).unwrap();
        assert_eq!(read(&evaluation().to_string()), Ok(wanted));
    }

    #[test]
    fn a_fence_words_and_a_byte_order_mark_round_the_answer_do_no_harm() {
        let wanted: Evaluation = serde_json::from_value(evaluation()).unwrap();
        let pretty = serde_json::to_string_pretty(&evaluation()).unwrap();
        for text in [
            format!("```json\n{pretty}\n```"),
            format!("```\n{pretty}\n```\n"),
            format!("Here it is:\n\n```json\n{pretty}\n```\nThat is all."),
            format!("\u{feff}  {pretty}\n\n"),
        ] {
            assert_eq!(read(&text), Ok(wanted.clone()), "{text}");
        }
    }

    #[test]
    fn unknown_keys_go_and_missing_optional_ones_are_null() {
        let mut value = evaluation();
        let map = value.as_object_mut().unwrap();
        map.insert("mood".to_owned(), json!("good"));
        map.shift_remove("typeErrors");
        value["openIssues"][0].as_object_mut().unwrap().shift_remove("file");
        value["passingTests"] = json!(3.0);
        assert_eq!(read(&value.to_string()), Ok(serde_json::from_value(evaluation()).unwrap()));
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let mut value = evaluation();
        value["verdict"] = json!("done");
        value["distanceFromGoal"] = json!(1.5);
        value["openIssues"][0].as_object_mut().unwrap().shift_remove("summary");
        let faults = read(&value.to_string()).unwrap_err().faults;
        assert_eq!(faults.len(), 3);
        let text = faults.join("\n");
        for part in ["/verdict", "\"done\"", "/distanceFromGoal", "/openIssues/0", "summary"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn faults_stay_short_however_long_the_answer() {
        let proposal = json!({"id": "A b", "patch": 5, "justification": "x".repeat(50_000)});
        let text = json!({"proposals": vec![proposal; 40]}).to_string();
        let misfit = parse::<Suggestion>(&text, &schema::proposals()).unwrap_err();
        assert_eq!(misfit.faults.len(), MAX_FAULTS + 1);
        assert!(misfit.to_string().chars().count() < 6000);
    }

    #[test]
    fn a_key_that_stands_twice_is_no_answer() {
        for (from, to) in [("{", "{\"verdict\":\"goal-met\","), ("\"severity\":", "\"severity\":\"low\",\"severity\":")]
        {
            let text = evaluation().to_string().replacen(from, to, 1);
            assert!(read(&text).unwrap_err().to_string().contains("twice"), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_says_why() {
        for text in ["", "  ", "I cannot do that.", "{\"verdict\":", "```json\n{\"a\":\n```", "[]", "null", "5"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read("").unwrap_err().to_string().contains("empty"));
        assert!(read("{\"verdict\":").unwrap_err().to_string().contains("not JSON"));
    }

    #[test]
    fn a_ranking_out_of_range_is_refused() {
        let text = json!({"scores": [{"id": "candidate-1", "correctness": 7, "requirementSatisfaction": 0.5,
            "maintainability": 0.5, "testability": 0.5, "simplicity": 0.5, "riskInverse": 0.5}],
            "winner": {"id": "candidate-1", "justification": "j", "confidence": 0.5}, "rejections": []});
        let misfit = parse::<Ranking>(&text.to_string(), &schema::ranking()).unwrap_err();
        assert_eq!(misfit.faults.len(), 1);
        assert!(misfit.to_string().contains("/scores/0/correctness"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(```(json)?\n)?[\\[\\]{}\",:a-z0-9é`\n ]{0,80}(\n```)?") {
            let _ = read(&text);
        }
    }
}
