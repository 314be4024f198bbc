//! Under which name a head has what is at a URL: its path, without the host.
//!
//! Pure, and the one place that says so: `add` puts it there, `run` looks for it there.

use peer::content::hex;
use peer::control::printable;

/// `releases/a.img` of `https://user@host:1/releases/a.img#part`. `%` and two digits are the byte
/// that they mean; a query stays in the name, as wget(1) has it: it may make another file of it.
///
/// # Errors
/// There is no path in it that could be a file's below the served directory.
pub fn name_of(url: &[u8]) -> Result<Vec<u8>, String> {
    let no_name = |why| format!("{}: {why}", shown(url));
    let Some(at) = url.windows(3).position(|three| three == b"://") else {
        return Err(no_name("is no URL"));
    };
    let behind = url[at + 3..].split(|byte| *byte == b'#').next().unwrap_or_default();
    let host_len = behind.iter().position(|byte| b"/?".contains(byte)).unwrap_or(behind.len());
    let (path, query) = match behind[host_len..].iter().position(|byte| *byte == b'?') {
        Some(query) => behind[host_len..].split_at(query),
        None => (&behind[host_len..], &[][..]),
    };
    if path.is_empty() || path.ends_with(b"/") {
        return Err(no_name("names no file"));
    }
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
        let name = decoded(name);
        let is_odd = |byte: &u8| *byte == b'/' || byte.is_ascii_control();
        if name == b".." || name == b"." || name.iter().any(is_odd) {
            return Err(no_name("has `..`, a slash or a control character in a name"));
        }
        names.push(name);
    }
    let mut name = names.join(&b'/');
    // A slash of the query would be a directory's.
    name.extend(query.iter().map(|byte| if *byte == b'/' { b'_' } else { *byte }));
    if name.is_empty() || name.split(|byte| *byte == b'/').any(|part| part.len() > 255) {
        return Err(no_name("names no file, or one of more than 255 bytes"));
    }
    Ok(name)
}

/// For a person: without the user and the password of it.
pub fn shown(url: &[u8]) -> String {
    let text = printable(url);
    let Some(host) = text.find("://").map(|at| at + 3) else { return text };
    let host_len = text[host..].find(['/', '?', '#']).unwrap_or(text.len() - host);
    match text[host..host + host_len].rfind('@') {
        Some(at) => format!("{}{}", &text[..host], &text[host + at + 1..]),
        None => text,
    }
}

/// What is no `%` and two digits stays as it is.
fn decoded(name: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, after @ ..] = rest {
        let coded = match (first, after) {
            (b'%', [high, low, ..]) => hex::byte(*high, *low),
            _ => None,
        };
        bytes.push(coded.unwrap_or(*first));
        rest = if coded.is_some() { &after[2..] } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_path_without_the_host() {
        for (url, name) in [
            ("http://h/a.img", "a.img"),
            ("https://user:pw@h.example:8080/releases/14.04/a.img", "releases/14.04/a.img"),
            ("http://[::1]:80/a", "a"),
            ("http://h//a/./b", "a/b"),
            ("http://h/a%20b%2c", "a b,"),
            ("http://h/50%/a%zz", "50%/a%zz"),
            ("http://h/a#part", "a"),
            ("http://h/get?file=x/y&v=2", "get?file=x_y&v=2"),
            ("ftp://h/pub/a", "pub/a"),
            ("file:///srv/a", "srv/a"),
        ] {
            assert_eq!(name_of(url.as_bytes()).as_deref(), Ok(name.as_bytes()), "{url}");
        }
    }

    #[test]
    fn a_password_is_shown_to_nobody() {
        for (url, text) in [
            ("http://user:p@ss@h:1/a@b", "http://h:1/a@b"),
            ("http://h?x=a@b", "http://h?x=a@b"),
            ("http://u:p@h", "http://h"),
            ("u:p@h", "u:p@h"),
            ("http://h/\x1b[2J", "http://h/?[2J"),
        ] {
            assert_eq!(shown(url.as_bytes()), text);
        }
    }

    #[test]
    fn what_is_no_file_below_is_refused() {
        let long = format!("http://h/{}", "x".repeat(256));
        for url in [
            "",
            "a.img",
            "http://",
            "http://h",
            "http://h/",
            "http://h/dir/",
            "http://h?x=/y",
            "http://h/../a",
            "http://h/a/%2e%2e/b",
            "http://h/a%2fb",
            "http://h/a%00",
            "http://h/a%0a%1b[2J",
            "http://h/a%7f",
            "http://h/.",
            &long,
        ] {
            assert!(name_of(url.as_bytes()).is_err(), "{url}");
        }
    }
}
