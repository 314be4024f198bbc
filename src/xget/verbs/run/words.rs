//! Which words of a command name something at the head, and the command with paths of this
//! machine in their place.
//!
//! Pure. Knows how names are written in arguments. Refuses to know how they are fetched.
//!
//! A name begins an argument, or stands behind `=` or `,` in one, and ends at the next `,`; of two
//! commas both are one comma of the name, as QEMU's options have it. `\` before it leaves it alone.

use peer::request::source_is_below;
use std::ffi::{CString, NulError, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Names of one command: each is a conversation with the head, and a child that serves on.
pub const NAMES_MAX: usize = 64;

/// What is to be done with what a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is used as it is.
    File,
    /// It is unpacked, and the directory in it is used.
    Tar,
    /// As `File`; the name is that under which the head has what is at a URL.
    Url,
}

const PREFIXES: [(&[u8], Kind); 4] = [
    (b"file:", Kind::File),
    (b"tar:", Kind::Tar),
    (b"http://", Kind::Url),
    (b"https://", Kind::Url),
];

/// Something that is wanted of the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub kind: Kind,
    /// What stands behind `file:` or `tar:`; a URL as a whole.
    pub text: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    /// The number of a name.
    Path(usize),
}

/// A command with places for paths.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Words {
    words: Vec<Vec<Part>>,
    /// Each once, in the order in which they are named first.
    pub names: Vec<Name>,
}

impl Words {
    /// # Errors
    /// A name that cannot be one of the head's; for the user.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Words, String> {
        let mut parsed = Words::default();
        for word in words {
            let parts = parsed.parts(word.as_bytes())?;
            parsed.words.push(parts);
        }
        match parsed.names.len() {
            0..=NAMES_MAX => Ok(parsed),
            many => Err(format!("{many} names in one command; {NAMES_MAX} are the most")),
        }
    }

    fn parts(&mut self, word: &[u8]) -> Result<Vec<Part>, String> {
        let (mut parts, mut text) = (Vec::new(), Vec::new());
        let mut rest = word;
        let mut begins = true;
        while let [first, after @ ..] = rest {
            if begins && *first == b'\\' && prefix(after).is_some() {
                rest = after;
                begins = false;
            } else if let Some((name, len)) = begins.then(|| name_at(rest)).flatten() {
                check(&name, word)?;
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::Path(self.number_of(name)));
                rest = &rest[len..];
                begins = false;
            } else if let [b',', b',', after @ ..] = rest {
                text.extend_from_slice(b",,");
                rest = after;
                begins = false;
            } else {
                text.push(*first);
                rest = after;
                begins = matches!(first, b'=' | b',');
            }
        }
        parts.push(Part::Text(text));
        parts.retain(|part| *part != Part::Text(Vec::new()));
        Ok(parts)
    }

    fn number_of(&mut self, name: Name) -> usize {
        let known = self.names.iter().position(|known| *known == name);
        known.unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        })
    }

    /// The command with a path for each name, in their order.
    ///
    /// # Errors
    /// Never: no argument of a process has a NUL in it, nor a path.
    pub fn with(&self, paths: &[PathBuf]) -> Result<Vec<CString>, NulError> {
        let bytes = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Path(number) => {
                paths.get(*number).map_or(Vec::new(), |p| p.as_os_str().as_bytes().to_vec())
            }
        };
        let word =
            |parts: &Vec<Part>| CString::new(parts.iter().flat_map(bytes).collect::<Vec<_>>());
        self.words.iter().map(word).collect()
    }
}

fn prefix(rest: &[u8]) -> Option<(&'static [u8], Kind)> {
    PREFIXES.into_iter().find(|(prefix, _)| rest.starts_with(prefix))
}

/// The name that begins here, and how much of the argument it takes.
fn name_at(rest: &[u8]) -> Option<(Name, usize)> {
    let (prefix, kind) = prefix(rest)?;
    let mut text = match kind {
        Kind::Url => prefix.to_vec(),
        Kind::File | Kind::Tar => Vec::new(),
    };
    let mut at = prefix.len();
    while let Some(byte) = rest.get(at) {
        let is_comma = *byte == b',';
        if is_comma && rest.get(at + 1) != Some(&b',') {
            break;
        }
        text.push(*byte);
        at += 1 + usize::from(is_comma);
    }
    Some((Name { kind, text }, at))
}

/// What is no name at the head is refused before anything is fetched.
fn check(name: &Name, word: &[u8]) -> Result<(), String> {
    let why = match (name.kind, name.text.as_slice()) {
        (Kind::Url, _) => return Ok(()),
        (_, []) => "there is no name in it",
        (_, [b'/', ..]) => {
            "names what the head serves by a path that does not begin with `/`; \
             most programs take this for a file of this machine"
        }
        (_, text) if !source_is_below(text) => "leads above what the head serves",
        _ => return Ok(()),
    };
    let word = OsString::from_vec(word.to_vec());
    Err(format!("{}: {why}. With `\\` before it, it is passed on as it is", word.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(word: &str) -> Result<Words, String> {
        Words::parse([OsString::from(word)])
    }

    /// The command with `<0>`, `<1>` ... in the place of names, and the names.
    fn seen(word: &str) -> (String, Vec<(Kind, String)>) {
        let words = parsed(word).unwrap();
        let paths: Vec<PathBuf> = (0..words.names.len()).map(|n| format!("<{n}>").into()).collect();
        let line = words.with(&paths).unwrap().remove(0).into_string().unwrap();
        let names = words.names.into_iter();
        let names = names.map(|name| (name.kind, String::from_utf8(name.text).unwrap())).collect();
        (line, names)
    }

    #[test]
    fn names_are_found_where_they_may_stand() {
        use Kind::{File, Tar, Url};
        type Case = (&'static str, &'static str, &'static [(Kind, &'static str)]);
        let cases: &[Case] = &[
            ("file:foo.qcow2", "<0>", &[(File, "foo.qcow2")]),
            ("file:a/b c", "<0>", &[(File, "a/b c")]),
            ("file:foo,if=virtio", "<0>,if=virtio", &[(File, "foo")]),
            ("file=file:foo,if=virtio", "file=<0>,if=virtio", &[(File, "foo")]),
            ("if=virtio,file=file:foo", "if=virtio,file=<0>", &[(File, "foo")]),
            ("a,file:foo,b", "a,<0>,b", &[(File, "foo")]),
            ("--root=tar:fs.tar.gz", "--root=<0>", &[(Tar, "fs.tar.gz")]),
            ("file:a,file:b,file:a", "<0>,<1>,<0>", &[(File, "a"), (File, "b")]),
            ("tar:a,file:a", "<0>,<1>", &[(Tar, "a"), (File, "a")]),
            ("url=http://h/x?y=z,w", "url=<0>,w", &[(Url, "http://h/x?y=z")]),
            ("https://h:1/a/b", "<0>", &[(Url, "https://h:1/a/b")]),
            ("file:a=b", "<0>", &[(File, "a=b")]),
            ("file:file:a", "<0>", &[(File, "file:a")]),
            // Two commas are one of the name.
            ("file:a,,b", "<0>", &[(File, "a,b")]),
            ("x=file:a,,b,,,y", "x=<0>,y", &[(File, "a,b,")]),
            ("file:a,", "<0>,", &[(File, "a")]),
        ];
        for (word, line, names) in cases {
            let names: Vec<_> =
                names.iter().map(|(kind, name)| (*kind, name.to_string())).collect();
            assert_eq!(seen(word), (line.to_string(), names), "{word}");
        }
    }

    #[test]
    fn what_only_looks_so_is_left_alone() {
        for word in [
            "",
            "file=foo",
            "myfile:foo",
            "-file:foo",
            "a:file:foo",
            "profile=x,myfile:foo",
            "File:foo",
            "http:80",
            "https:x",
            "ftp://h/x",
            "tar",
            "--tar",
            "a,,file:foo",
            "x=,,tar:y",
            "\\x",
            "a\\file:b",
        ] {
            assert_eq!(seen(word), (word.to_string(), Vec::new()), "{word}");
        }
        assert_eq!(seen("\\file:foo").0, "file:foo");
        assert_eq!(seen("url=\\http://h/x,y=\\tar:z").0, "url=http://h/x,y=tar:z");
        assert_eq!(
            seen("\\file:/abs,file:b"),
            ("file:/abs,<0>".into(), vec![(Kind::File, "b".into())])
        );
    }

    #[test]
    fn what_cannot_be_a_name_at_the_head_is_said() {
        for (word, why) in [
            ("file:", "no name"),
            ("file:,if=virtio", "no name"),
            ("x=tar:", "no name"),
            ("file:/abs", "begin with `/`"),
            ("file:///abs", "begin with `/`"),
            ("file:../x", "above"),
            ("tar:a/../../x", "above"),
            ("file:..", "above"),
        ] {
            let error = parsed(word).unwrap_err();
            assert!(error.starts_with(word) && error.contains(why), "{word}: {error}");
        }
        let many = (0..=NAMES_MAX).map(|number| OsString::from(format!("file:{number}")));
        assert!(Words::parse(many).unwrap_err().contains("64"));
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        let word = OsString::from_vec(b"\xff=file:a\xfe,\xfd".to_vec());
        let words = Words::parse([word]).unwrap();
        assert_eq!(words.names[0].text, b"a\xfe");
        assert_eq!(words.with(&["/p".into()]).unwrap()[0].as_bytes(), b"\xff=/p,\xfd");
    }

    proptest! {
        /// A name comes back out of wherever it may stand, whatever is in it.
        #[test]
        fn a_name_is_the_same_again(
            name in "[a-z,=:\\\\.*]{1,12}",
            before in prop::sample::select(vec!["", "x=", "x,", "y=1,x=", "a,b,"]),
            after in prop::sample::select(vec!["", ",", ",x=1", ",y"]),
        ) {
            let written = format!("{before}file:{}{after}", name.replace(',', ",,"));
            prop_assume!(source_is_below(name.as_bytes()));
            let (line, names) = seen(&written);
            prop_assert_eq!(line, format!("{before}<0>{after}"));
            prop_assert_eq!(names, vec![(Kind::File, name)]);
        }

        /// Whatever is typed, nothing is lost but what names take.
        #[test]
        fn words_without_names_stay_as_they_are(word in "[a-z=,:/.-]{0,24}") {
            if let Ok(words) = parsed(&word) && words.names.is_empty() {
                let line = words.with(&[]).unwrap().remove(0);
                prop_assert_eq!(line.into_string().unwrap(), word);
            }
        }
    }
}
