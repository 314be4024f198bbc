//! The kernel command line as names and values.
//!
//! Knows how the kernel cuts it up (lib/cmdline.c, next_arg;
//! Documentation/admin-guide/kernel-parameters.rst) and how a value is chosen
//! among several (dracut.cmdline(7)). Refuses to know what any name means: that is
//! `settings`.

/// One word of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    pub name: String,
    /// `None` for a bare name, `Some("")` for `name=`.
    pub value: Option<String>,
    /// As it was written, quotes and all: to be passed on unchanged.
    pub raw: String,
}

/// All words up to `--`, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cmdline {
    pub params: Vec<Param>,
}

impl Cmdline {
    /// Words are separated by white space outside of double quotes; there is
    /// no escape. What follows a lone `--` belongs to the next init.
    pub fn parse(text: &str) -> Cmdline {
        let params = words(text).into_iter().take_while(|word| *word != "--").map(param).collect();
        Cmdline { params }
    }

    /// Every value of `name`, in order; a bare name counts as empty.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let hits = self.params.iter().filter(move |param| param.name == name);
        hits.map(|param| param.value.as_deref().unwrap_or(""))
    }

    /// The last value of `name`: the last one wins (dracut.cmdline(7)).
    pub fn last<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).last()
    }

    /// The last value that any of `names` has, in the order of the line.
    pub fn last_of(&self, names: &[&str]) -> Option<&Param> {
        self.params.iter().rev().find(|param| names.contains(&param.name.as_str()))
    }

    /// A switch: the bare name is on, `0`, `no` and `off` are off.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.last(name).map(|value| !matches!(value, "0" | "no" | "off"))
    }

    pub fn has(&self, name: &str) -> bool {
        self.last(name).is_some()
    }
}

/// The words of a command line, with their quotes.
pub fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        let space = byte.is_ascii_whitespace() || byte == 0;
        match start {
            None if !space => start = Some(at),
            Some(from) if space && !quoted => {
                words.push(&text[from..at]);
                start = None;
            }
            _ => {}
        }
        if byte == b'"' {
            quoted = !quoted;
        }
    }
    words.extend(start.map(|from| &text[from..]));
    words
}

/// `"a=b c"` and `a="b c"` are the same, as in next_arg().
fn param(raw: &str) -> Param {
    let word = match raw.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').unwrap_or(rest),
        None => raw,
    };
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(unquote(value))),
        None => (word, None),
    };
    Param { name: name.to_string(), value, raw: raw.to_string() }
}

fn unquote(value: &str) -> String {
    let inner = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').unwrap_or(rest),
        None => value,
    };
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    #[test]
    fn words_end_at_space_outside_quotes() {
        assert_eq!(words("  a b=\"c d\"\te\n"), ["a", "b=\"c d\"", "e"]);
        assert_eq!(words("a=\"never closed b"), ["a=\"never closed b"]);
        assert!(words(" \n").is_empty());
    }

    #[test]
    fn quotes_around_word_or_value_are_the_same() {
        let line = Cmdline::parse("one=\"a b\" \"two=c d\" three= four");
        assert_eq!(line.last("one"), Some("a b"));
        assert_eq!(line.last("two"), Some("c d"));
        assert_eq!(line.last("three"), Some(""));
        assert_eq!(line.params[3].value, None);
        assert_eq!(line.last("four"), Some(""));
        assert_eq!(line.last("five"), None);
        assert_eq!(line.params[1].raw, "\"two=c d\"");
    }

    #[test]
    fn last_value_wins_and_lists_keep_order() {
        let line = Cmdline::parse("console=tty0 panic=3 console=ttyS0,115200 panic=-1");
        assert_eq!(line.last("panic"), Some("-1"));
        assert_eq!(line.all("console").collect::<Vec<_>>(), ["tty0", "ttyS0,115200"]);
        let last = line.last_of(&["console", "panic"]).map(|param| param.name.as_str());
        assert_eq!(last, Some("panic"));
    }

    #[test]
    fn switches_follow_dracut() {
        let line = Cmdline::parse("rd.shell rd.debug=0 xget.shell=1 rd.neednet=1 rd.neednet=0");
        assert_eq!(line.flag("rd.shell"), Some(true));
        assert_eq!(line.flag("rd.debug"), Some(false));
        assert_eq!(line.flag("xget.shell"), Some(true));
        assert_eq!(line.flag("rd.neednet"), Some(false));
        assert_eq!(line.flag("rd.none"), None);
    }

    #[test]
    fn words_after_two_dashes_are_not_ours() {
        let line = Cmdline::parse("a=1 -- a=2 single");
        assert_eq!(line.last("a"), Some("1"));
        assert!(!line.has("single"));
    }

    proptest! {
        #[test]
        fn any_text_is_cut_into_words(text in r#"[ \t\n\x00"'=a-cé-]{0,40}"#) {
            let found = words(&text);
            for word in &found {
                prop_assert!(!word.is_empty() && text.contains(word));
            }
            // Nothing but space is lost, and the words are cut up no further.
            let space = |c: char| c.is_ascii_whitespace() || c == '\0';
            let bare = |text: &str| text.replace(space, "");
            prop_assert_eq!(bare(&text), bare(&found.concat()));
            let joined = found.join(" ");
            prop_assert_eq!(words(&joined), found);
            prop_assert!(Cmdline::parse(&text).params.len() <= words(&text).len());
        }

        #[test]
        fn what_is_written_is_read(
            params in vec(("[a-z.]{1,6}", option::of("[a-z,:=]{0,6}( [a-z]{1,3})?")), 0..8),
        ) {
            let text: Vec<String> = params
                .iter()
                .map(|(name, value)| match value {
                    None => name.clone(),
                    Some(value) if value.contains(' ') => format!("{name}=\"{value}\""),
                    Some(value) => format!("{name}={value}"),
                })
                .collect();
            let line = Cmdline::parse(&text.join(" \t"));
            let read: Vec<(String, Option<String>)> =
                line.params.into_iter().map(|param| (param.name, param.value)).collect();
            prop_assert_eq!(read, params);
        }
    }
}
