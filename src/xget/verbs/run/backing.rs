//! Images that stand on others: what a qcow2 file names as its backing file, and where that is at
//! the head.
//!
//! Knows the beginning of the format (QEMU, docs/interop/qcow2.txt) and how QEMU reads such a name
//! (path_combine and path_has_protocol of its block layer). Refuses to know how files are fetched.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Images that stand on each other.
pub const CHAIN_MAX: usize = 16;

/// Version 1, 2 and 3 alike: magic, version, where the name is, and its length.
const MAGIC: [u8; 4] = *b"QFI\xfb";
const HEADER_LEN: usize = 20;
/// Of the format.
const NAME_LEN_MAX: u32 = 1023;

/// The name as it is written in an image; `None` of what is none, or has no backing file.
pub fn written(image: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = File::open(image)?;
    let mut header = [0; HEADER_LEN];
    match file.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let Some((at, len)) = place(&header) else { return Ok(None) };
    if len > NAME_LEN_MAX {
        let why = "the name of its backing file is longer than the format allows";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let mut name = vec![0; len as usize];
    file.read_exact_at(&mut name, at)?;
    Ok(Some(name))
}

/// Where in the file the name stands, and how long it is.
fn place(header: &[u8; HEADER_LEN]) -> Option<(u64, u32)> {
    let [m0, m1, m2, m3, _, _, _, _, rest @ ..] = header;
    let [o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3] = *rest;
    let at = u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]);
    let len = u32::from_be_bytes([l0, l1, l2, l3]);
    ([*m0, *m1, *m2, *m3] == MAGIC && at != 0 && len != 0).then_some((at, len))
}

/// The path at the head of what `image` there stands on. `None` where it is a path of this machine
/// or no file at all, which is nobody's business here.
///
/// # Errors
/// It leads above what the head serves.
pub fn at_head(image: &[u8], written: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let has_protocol = written.iter().find(|byte| b":/".contains(byte)) == Some(&b':');
    if has_protocol || written.starts_with(b"/") {
        return Ok(None);
    }
    let dir_len = image.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    plain(&[&image[..dir_len], written].concat()).map(Some).ok_or_else(|| {
        let name = String::from_utf8_lossy(written);
        format!("has the backing file {name:?}, which is above what the head serves")
    })
}

/// A path without `.`, `..` and doubled slashes; `None` of one that leads above its root.
pub fn plain(path: &[u8]) -> Option<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/');
    let mut path: Vec<&[u8]> = Vec::new();
    for name in names {
        match name {
            b"" | b"." => {}
            b".." => path.pop().map(drop)?,
            name => path.push(name),
        }
    }
    Some(path.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use std::fs;

    /// As `qemu-img create -f qcow2 -b base.qcow2 -F qcow2` begins it.
    fn image(at: u64, len: u32, name: &[u8]) -> Vec<u8> {
        let mut bytes = b"QFI\xfb\0\0\0\x03".to_vec();
        bytes.extend(at.to_be_bytes());
        bytes.extend(len.to_be_bytes());
        bytes.resize(at as usize, 0);
        bytes.extend(name);
        bytes
    }

    #[test]
    fn the_name_is_where_the_header_says() {
        let dir = Dir::new();
        let of = |bytes: &[u8]| {
            fs::write(dir.join("image"), bytes).unwrap();
            written(&dir.join("image"))
        };
        assert_eq!(
            of(&image(0x1a8, 10, b"base.qcow2rest")).unwrap().as_deref(),
            Some(&b"base.qcow2"[..])
        );
        assert_eq!(of(&image(32, 1, b"x")).unwrap().as_deref(), Some(&b"x"[..]));
        for none in
            [&b""[..], b"QFI\xfb", &image(0, 10, b"base.qcow2"), &image(32, 0, b"x"), &[0; 64]]
        {
            assert_eq!(of(none).unwrap(), None);
        }
        // What lies: too long, behind the end.
        assert!(of(&image(32, 1024, &[b'x'; 2000])).is_err());
        assert!(of(&image(32, 10, b"short")).is_err());
        let mut far = image(32, 10, b"");
        far[8..16].fill(0xff);
        assert!(of(&far).is_err());
    }

    #[test]
    fn it_is_beside_the_image_that_names_it() {
        let path = |image: &str, name: &str| {
            let found = at_head(image.as_bytes(), name.as_bytes());
            found.map(|found| found.map(|path| String::from_utf8(path).unwrap()))
        };
        let is = |path: &str| Ok(Some(path.to_string()));
        assert_eq!(path("a.qcow2", "base.qcow2"), is("base.qcow2"));
        assert_eq!(path("vm/a.qcow2", "base.qcow2"), is("vm/base.qcow2"));
        assert_eq!(path("vm/a.qcow2", "../base/./b:1.img"), is("base/b:1.img"));
        assert_eq!(path("./x/../vm//a", "b"), is("vm/b"));
        for name in ["/var/base", "nbd://h/x", "json:{}", "file:b"] {
            assert_eq!(path("vm/a", name), Ok(None), "{name}");
        }
        assert!(path("vm/a", "../../b").unwrap_err().contains("above"));
    }
}
