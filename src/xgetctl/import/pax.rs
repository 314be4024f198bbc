//! PAX records: `LENGTH KEY=VALUE\n`, where a value may be any bytes (pax(1), "pax Extended
//! Header").

const XATTR: &str = "SCHILY.xattr.";
const ACLS: [(&str, &str); 2] = [
    ("SCHILY.acl.access", "system.posix_acl_access"),
    ("SCHILY.acl.default", "system.posix_acl_default"),
];

/// What records say of the next entry.
#[derive(Debug, Default)]
pub struct Pax {
    pub path: Option<Vec<u8>>,
    pub target: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<(i64, u32)>,
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// The name of the attribute, and the ACL as text.
    pub acls: Vec<(&'static str, String)>,
    pub sparse_version: (Option<u64>, Option<u64>),
    pub sparse_name: Option<Vec<u8>>,
    pub sparse_len: Option<u64>,
}

impl Pax {
    pub fn parse(mut bytes: &[u8]) -> Result<Pax, String> {
        let mut pax = Pax::default();
        // What fills the last block.
        while bytes.first().is_some_and(|b| *b != 0) {
            let (key, value, rest) = record(bytes).ok_or("a PAX record that is none")?;
            pax.take(&String::from_utf8_lossy(key), value)?;
            bytes = rest;
        }
        Ok(pax)
    }

    fn take(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        let text = || std::str::from_utf8(value).map_err(|_| format!("no text in {key}"));
        let number = || -> Result<u64, String> {
            text()?.parse().map_err(|_| format!("no number in {key}"))
        };
        match key {
            "path" => self.path = Some(value.into()),
            "linkpath" => self.target = Some(value.into()),
            "size" => self.size = Some(number()?),
            "uid" => self.uid = Some(number()?),
            "gid" => self.gid = Some(number()?),
            "mtime" => self.mtime = Some(time(text()?).ok_or("no time in mtime")?),
            "GNU.sparse.major" => self.sparse_version.0 = Some(number()?),
            "GNU.sparse.minor" => self.sparse_version.1 = Some(number()?),
            "GNU.sparse.name" => self.sparse_name = Some(value.into()),
            "GNU.sparse.realsize" | "GNU.sparse.size" => self.sparse_len = Some(number()?),
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.push((name.into(), value.into()));
                } else if let Some((_, name)) = ACLS.iter().find(|(acl, _)| *acl == key) {
                    self.acls.push((name, text()?.into()));
                }
            }
        }
        Ok(())
    }
}

/// Key, value, and what comes after the first record.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|b| *b == b' ')?;
    let len: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let record = bytes.get(..len)?.strip_suffix(b"\n")?.get(space + 1..)?;
    let equals = record.iter().position(|b| *b == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &bytes[len..]))
}

/// Seconds with a fraction, as nanoseconds; before 1970 with a sign.
fn time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    match (whole.starts_with('-'), nanos) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_bytes_with_newlines_and_all() {
        let pax =
            Pax::parse(b"29 SCHILY.xattr.user.a=\n\n=\0\xff\n11 size=99\n8 path=\n\0\0").unwrap();
        assert_eq!(pax.xattrs, [("user.a".to_string(), b"\n\n=\0\xff".to_vec())]);
        assert_eq!((pax.size, pax.path), (Some(99), Some(Vec::new())));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for bytes in [
            &b"x"[..],
            b"9 path=a",
            b"99 path=a\n",
            b"3 p\n",
            b"0 a=b\n",
            b"10 size=x\n\n",
            b"99999999999999999999 a=b\n",
        ] {
            assert!(Pax::parse(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
        assert!(Pax::parse(b"").unwrap().path.is_none());
    }

    #[test]
    fn times_have_fractions() {
        assert_eq!(time("12"), Some((12, 0)));
        assert_eq!(time("12.5"), Some((12, 500_000_000)));
        assert_eq!(time("12.123456789123"), Some((12, 123_456_789)));
        assert_eq!(time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time("x"), None);
        assert_eq!(time("1.x"), None);
    }
}
