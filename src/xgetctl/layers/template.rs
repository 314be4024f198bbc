//! Templates: text with `{{name}}`, `{{address}}` and the like in it.
//!
//! A variable is a word in double braces, blanks around it do not count; `\{{` is `{{`. What
//! is not known is an error with line and column, and never empty text. Knows no files.

use std::collections::BTreeMap;

/// Longest name of a variable.
const NAME_LEN_MAX: usize = 128;

/// What a node has, by the names of variables.
pub type Variables = BTreeMap<String, String>;

/// What is wrong with a template, and where; both from 1 on.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    pub line: usize,
    pub column: usize,
    pub what: String,
}

/// The text with all variables in their places.
pub fn render(template: &[u8], variables: &Variables) -> Result<Vec<u8>, Fault> {
    let mut made = Vec::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = find(rest, b"{{") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix(b"\\") {
            made.extend_from_slice(before);
            made.extend_from_slice(b"{{");
            rest = &from[2..];
            continue;
        }
        made.extend_from_slice(before);
        let fault = |what: String| fault(template, template.len() - from.len(), what);
        let end = find(&from[2..], b"}}").filter(|end| *end <= NAME_LEN_MAX);
        let end =
            end.ok_or_else(|| fault("there is no }} to this {{; \\{{ is a {{ itself".into()))?;
        let name = String::from_utf8_lossy(&from[2..2 + end]).trim().to_owned();
        let value = variables.get(&name).ok_or_else(|| {
            let known: Vec<&str> = variables.keys().map(String::as_str).collect();
            fault(format!("{name:?} is not known of this node; known are {}", known.join(", ")))
        })?;
        made.extend_from_slice(value.as_bytes());
        rest = &from[2 + end + 2..];
    }
    made.extend_from_slice(rest);
    Ok(made)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn fault(template: &[u8], at: usize, what: String) -> Fault {
    let before = &template[..at];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    Fault { line, column: String::from_utf8_lossy(&before[start..]).chars().count() + 1, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Result<String, Fault> {
        let pairs = [("name", "n001"), ("address", "10.0.0.1"), ("words.console", "ttyS0,115200")];
        let pairs = pairs.map(|(name, value)| (name.to_string(), value.to_string()));
        render(text.as_bytes(), &pairs.into()).map(|made| String::from_utf8(made).unwrap())
    }

    #[test]
    fn variables_are_put_in() {
        assert_eq!(rendered("").unwrap(), "");
        assert_eq!(rendered("{{name}}{{ address }}\n").unwrap(), "n00110.0.0.1\n");
        assert_eq!(rendered("tty={{words.console}}}").unwrap(), "tty=ttyS0,115200}");
        assert_eq!(rendered("{ \\{{name}} { }}").unwrap(), "{ {{name}} { }}");
    }

    #[test]
    fn what_is_not_known_has_its_place() {
        let fault = rendered("one\ntwö {{nmae}}").unwrap_err();
        assert_eq!((fault.line, fault.column), (2, 5));
        assert!(
            fault.what.contains("\"nmae\"") && fault.what.contains("address, name"),
            "{fault:?}"
        );
        for text in ["{{", "{{name", "{{name}", "{{}}", "{{ }}", "a {{na me}}"] {
            assert!(rendered(text).is_err(), "{text}");
        }
        let far = format!("{{{{{}}}}}", "x".repeat(200));
        assert!(rendered(&far).unwrap_err().what.contains("no }}"));
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        assert_eq!(
            render(b"\xff{{x}}\0", &[("x".into(), "y".into())].into()),
            Ok(b"\xffy\0".to_vec())
        );
    }
}
