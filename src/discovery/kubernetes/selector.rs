//! What Kubernetes takes as a label selector and as a namespace, so that a mistake is found at the start and
//! not by an API server.

use crate::discovery::limits::SELECTOR_BYTES_MAX;

/// Bytes of a name in a label key, of a label's value and of a namespace.
const NAME_BYTES_MAX: usize = 63;
/// Bytes of the part of a label key before its slash.
const PREFIX_BYTES_MAX: usize = 253;

/// Whether `text` can be a namespace.
///
/// # Errors
/// What is wrong with it, in words.
pub fn check_namespace(text: &str) -> Result<(), String> {
    match is_dns_label(text) {
        true => Ok(()),
        false => Err(format!(
            "{text:?} is no name of a namespace: up to {NAME_BYTES_MAX} small letters, digits and `-`, with a \
             letter or digit at both ends"
        )),
    }
}

/// Whether `text` is a label selector: requirements with commas between them, each `key`, `!key`, `key=value`,
/// `key==value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key>1` or `key<1`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn check_selector(text: &str) -> Result<(), String> {
    if text.len() > SELECTOR_BYTES_MAX {
        return Err(format!("it has {} bytes; at most {SELECTOR_BYTES_MAX} are allowed", text.len()));
    }
    requirements(text)?.into_iter().try_for_each(check_requirement)
}

/// The parts between commas that are not in brackets.
fn requirements(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut in_brackets) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match (c, in_brackets) {
            ('(', true) | (')', false) => return Err(format!("{text:?} has brackets that do not match")),
            ('(' | ')', _) => in_brackets = !in_brackets,
            (',', false) => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if in_brackets {
        return Err(format!("{text:?} has brackets that do not match"));
    }
    parts.push(&text[start..]);
    Ok(parts)
}

fn check_requirement(text: &str) -> Result<(), String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a part between commas is empty".to_owned());
    }
    if let Some(key) = text.strip_prefix('!') {
        return check_key(key.trim());
    }
    if let Some(list) = text.strip_suffix(')') {
        let (head, values) = list.split_once('(').unwrap_or((list, ""));
        let words: Vec<&str> = head.split_whitespace().collect();
        let [key, "in" | "notin"] = words[..] else {
            return Err(format!("{text:?} is not like `key in (a,b)` or `key notin (a,b)`"));
        };
        check_key(key)?;
        return values.split(',').try_for_each(|value| check_value(value.trim()));
    }
    for operator in ["!=", "==", "="] {
        if let Some((key, value)) = text.split_once(operator) {
            check_key(key.trim())?;
            return check_value(value.trim());
        }
    }
    if let Some((key, value)) = text.split_once(['<', '>']) {
        check_key(key.trim())?;
        let value = value.trim();
        return value
            .parse::<i64>()
            .map(drop)
            .map_err(|_| format!("{value:?} in {text:?} is not a whole number"));
    }
    check_key(text)
}

fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_ok =
        prefix.is_none_or(|prefix| prefix.len() <= PREFIX_BYTES_MAX && prefix.split('.').all(is_dns_label));
    match prefix_ok && !name.is_empty() && is_label_text(name) {
        true => Ok(()),
        false => Err(format!("{key:?} is no label key, like app or app.kubernetes.io/name")),
    }
}

fn check_value(value: &str) -> Result<(), String> {
    match is_label_text(value) {
        true => Ok(()),
        false => Err(format!(
            "{value:?} is no label value: up to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`, with a letter or \
             digit at both ends"
        )),
    }
}

/// Letters, digits, `-`, `_` and `.`, with a letter or digit at both ends; may be empty.
fn is_label_text(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= NAME_BYTES_MAX
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && ends(text.chars().next())
        && ends(text.chars().next_back())
}

fn is_dns_label(text: &str) -> bool {
    !text.is_empty()
        && is_label_text(text)
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_of_every_kind_are_taken() {
        for text in [
            "app=peat-mesh",
            "app==peat-mesh, tier != edge",
            "app.kubernetes.io/name=peat-mesh",
            "app",
            "!app",
            "env in (a, b),app notin (c)",
            "app=",
            "generation>3,generation<10",
        ] {
            assert_eq!(check_selector(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused_in_words() {
        for (text, words) in [
            ("app=peat mesh", "\"peat mesh\" is no label value"),
            ("-app=x", "\"-app\" is no label key"),
            ("Example.com/app=x", "is no label key"),
            ("a/b/c=x", "is no label key"),
            ("app=x,,tier=y", "between commas is empty"),
            ("app in a,b", "\"app in a\" is no label key"),
            ("app in (a", "brackets that do not match"),
            ("app)", "brackets that do not match"),
            ("app under (a)", "is not like `key in (a,b)`"),
            ("app>many", "is not a whole number"),
            ("=x", "\"\" is no label key"),
        ] {
            let problem = check_selector(text).unwrap_err();
            assert!(problem.contains(words), "{text}: {problem}");
        }
        assert!(check_selector(&"a".repeat(2_000)).unwrap_err().contains("2000 bytes"));
        assert!(check_selector(&format!("app={}", "a".repeat(64))).is_err());
    }

    #[test]
    fn a_namespace_is_a_dns_label() {
        assert_eq!(check_namespace("peat-mesh-1"), Ok(()));
        for text in ["", "Peat", "a.b", "-a", "a-", "a_b", &"a".repeat(64)] {
            assert!(check_namespace(text).unwrap_err().contains("is no name of a namespace"), "{text}");
        }
    }
}
