//! Text of others (file names, peers' words) made fit to be shown.

use alloc::string::String;

/// One harmless line: it moves no cursor, sets no colour and begins no line of
/// its own, because each control character is shown as `?`. What is not UTF-8
/// is shown as U+FFFD.
pub fn printable(text: impl AsRef<[u8]>) -> String {
    let text = String::from_utf8_lossy(text.as_ref());
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_stays_in_its_line() {
        let text = "a\nFAKE 10.0.0.1!5 done\x1b[31m\r\t\x7f\u{9b}1m \u{e9}\u{2603}";
        assert_eq!(printable(text), "a?FAKE 10.0.0.1!5 done?[31m????1m \u{e9}\u{2603}");
        assert_eq!(printable(b"\xff\n\x9b"), "\u{fffd}?\u{fffd}");
    }
}
