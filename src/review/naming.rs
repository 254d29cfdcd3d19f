//! Names of the records: the second, and the topic in letters that every file system and shell takes.

use jiff::Timestamp;

/// Most characters of a topic in a file name; with the stamp and the ending it stays below every limit.
const MAX_SLUG: usize = 60;

/// Returns the time part of a record's name, in UTC: `20261121_093005`.
pub fn stamp(at: Timestamp) -> String {
    at.strftime("%Y%m%d_%H%M%S").to_string()
}

/// Returns the topic part: small ASCII letters, digits and dashes, never empty.
pub fn slug(topic: &str, instead: &str) -> String {
    let mut slug = String::new();
    for c in topic.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= MAX_SLUG {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { instead.to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_become_safe_names() {
        for (topic, expected) in [
            ("Scale the pilot?", "scale-the-pilot"),
            ("a/b", "a-b"),
            ("../../etc/passwd", "etc-passwd"),
            ("..", "gate"),
            ("🚀", "gate"),
            ("🚀 launch 🚀", "launch"),
            ("über", "ber"),
            ("", "gate"),
            ("-rf", "rf"),
        ] {
            assert_eq!(slug(topic, "gate"), expected, "{topic}");
        }
    }

    #[test]
    fn stamps_are_utc_seconds() {
        assert_eq!(stamp("2026-11-21T09:30:05.9+02:00".parse().unwrap()), "20261121_073005");
    }

    proptest::proptest! {
        #[test]
        fn any_topic_is_a_short_file_name_without_a_path(topic in ".{0,300}") {
            let slug = slug(&topic, "free");
            assert!(!slug.is_empty() && slug.len() <= MAX_SLUG);
            assert!(slug.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
            assert!(!slug.starts_with('-') && !slug.ends_with('-'));
        }
    }
}
