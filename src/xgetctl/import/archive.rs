//! A tar archive as a row of entries: headers, what goes before them (PAX records, GNU's
//! long names), extents of sparse files, contents.
//!
//! Fields of a header are read by the crate `tar`. Its reader is not used: it takes PAX
//! records apart at newlines, and values like capabilities and ACLs are bytes. Everything
//! is bounded before it is read. Touches no disk.

use super::pax::Pax;
use crate::failure::{Failure, Outcome, reason};
use std::io::{self, Read};
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

const BLOCK_LEN: u64 = 512;
/// Longest path or target.
const NAME_LEN_MAX: u64 = 64 << 10;
/// Most bytes of PAX records before an entry: xattrs have up to 64 KiB each.
const PAX_LEN_MAX: u64 = 4 << 20;
/// Extents of a sparse file.
const EXTENTS_MAX: usize = 1 << 20;

/// An entry as it stands in the archive; its contents are read next.
pub struct Found {
    pub header: Header,
    pub path: Vec<u8>,
    pub target: Option<Vec<u8>>,
    pub pax: Pax,
    /// Where its bytes go in the file: offset and length, in order.
    pub extents: Vec<(u64, u64)>,
    /// Length of the file.
    pub len: u64,
}

pub struct Archive<'a, R> {
    from: R,
    name: &'a str,
    /// Of the present entry: bytes not read yet, and what fills its last block.
    left: u64,
    padding: u64,
    /// Its bytes have a digest to keep, which shows what is cut off.
    has_digest: bool,
}

impl<'a, R: Read> Archive<'a, R> {
    /// Some who write layers leave out the zeros that end an archive, and those that fill its
    /// last block: one without a digest is cut off then.
    pub fn new(from: R, name: &'a str, has_digest: bool) -> Archive<'a, R> {
        Archive { from, name, left: 0, padding: 0, has_digest }
    }

    fn damaged(&self, why: &str) -> Failure {
        Failure::wrong(format!("{} is damaged, or no tar archive: {why}", self.name))
    }

    fn failed(&self, error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("it is cut off"),
            _ => self.damaged(&reason(&error)),
        }
    }

    /// The next entry; none at the end.
    pub fn next(&mut self) -> Outcome<Option<Found>> {
        let (mut path, mut target, mut pax) = (None, None, Pax::default());
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let size = header.entry_size().map_err(|error| self.failed(error))?;
            match header.entry_type() {
                EntryType::GNULongName => path = Some(self.name_of(size)?),
                EntryType::GNULongLink => target = Some(self.name_of(size)?),
                EntryType::XHeader => {
                    let records = self.bytes(size, PAX_LEN_MAX, "PAX records")?;
                    pax = Pax::parse(&records).map_err(|why| self.damaged(&why))?;
                }
                // Of the archive as a whole: git's commit, and the like.
                EntryType::XGlobalHeader => drop(self.bytes(size, PAX_LEN_MAX, "PAX records")?),
                _ => return self.found(header, size, path, target, pax).map(Some),
            }
        }
    }

    fn found(
        &mut self,
        header: Header,
        size: u64,
        path: Option<Vec<u8>>,
        target: Option<Vec<u8>>,
        mut pax: Pax,
    ) -> Outcome<Found> {
        let size = pax.size.unwrap_or(size);
        let path = pax.path.take().or(path).unwrap_or_else(|| header.path_bytes().into_owned());
        let of_header = || header.link_name_bytes().map(|name| name.into_owned());
        let target = pax.target.take().or(target).or_else(of_header);
        let mut found = Found { header, path, target, pax, extents: vec![(0, size)], len: size };
        if found.header.entry_type() == EntryType::GNUSparse {
            self.sparse_of_gnu(&mut found)?;
        }
        self.begin(size);
        if found.pax.sparse_len.is_some() {
            self.sparse_of_pax(&mut found)?;
        }
        self.check_extents(&found)?;
        Ok(found)
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK_LEN - size % BLOCK_LEN) % BLOCK_LEN;
    }

    /// The next header that is none of zeros; none at the end of the archive.
    fn header(&mut self) -> Outcome<Option<Header>> {
        let rest = self.left.saturating_add(self.padding);
        let skipped = io::copy(&mut self.from.by_ref().take(rest), &mut io::sink());
        let skipped = skipped.map_err(|error| self.failed(error))?;
        if skipped < rest {
            let is_whole = self.has_digest && skipped >= self.left;
            return if is_whole { Ok(None) } else { Err(self.damaged("it is cut off")) };
        }
        self.begin(0);
        let mut block = [0; BLOCK_LEN as usize];
        let count = self.from.read(&mut block).map_err(|error| self.failed(error))?;
        if count == 0 && self.has_digest {
            return Ok(None);
        }
        self.from.read_exact(&mut block[count..]).map_err(|error| self.failed(error))?;
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        let sum = block.iter().map(|b| u32::from(*b)).sum::<u32>();
        let of_sum = block[148..156].iter().map(|b| u32::from(*b)).sum::<u32>();
        let stated = header.cksum().map_err(|_| self.damaged("there is no header of an entry"))?;
        if sum - of_sum + 8 * u32::from(b' ') != stated {
            return Err(self.damaged("the check sum of a header is another"));
        }
        Ok(Some(header))
    }

    /// Contents that are about the next entry.
    fn bytes(&mut self, size: u64, most: u64, what: &str) -> Outcome<Vec<u8>> {
        if size > most {
            return Err(self.damaged(&format!("{what} of {size} bytes, and {most} are allowed")));
        }
        self.begin(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(|error| self.failed(error))?;
        if (bytes.len() as u64) < size {
            return Err(self.damaged("it is cut off"));
        }
        Ok(bytes)
    }

    fn name_of(&mut self, size: u64) -> Outcome<Vec<u8>> {
        let mut name = self.bytes(size, NAME_LEN_MAX, "a name")?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    /// GNU's own form: extents in the header and in blocks behind it.
    fn sparse_of_gnu(&mut self, found: &mut Found) -> Outcome {
        let wrong = "a sparse file without its extents";
        let header = found.header.clone();
        let Some(gnu) = header.as_gnu() else { return Err(self.damaged(wrong)) };
        found.len = gnu.real_size().map_err(|error| self.failed(error))?;
        found.extents = self.extents(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut block = GnuExtSparseHeader::new();
            self.from.read_exact(block.as_mut_bytes()).map_err(|error| self.failed(error))?;
            found.extents.extend(self.extents(block.sparse())?);
            more = block.is_extended();
            if found.extents.len() > EXTENTS_MAX {
                return Err(self.damaged("a sparse file with too many extents"));
            }
        }
        Ok(())
    }

    fn extents(&self, listed: &[GnuSparseHeader]) -> Outcome<Vec<(u64, u64)>> {
        let listed = listed.iter().filter(|one| !one.is_empty());
        let extent = |one: &GnuSparseHeader| Ok((one.offset()?, one.length()?));
        listed.map(|one| extent(one).map_err(|error| self.failed(error))).collect()
    }

    /// PAX form 1.0: extents as decimal lines before the contents, filled up to a block.
    fn sparse_of_pax(&mut self, found: &mut Found) -> Outcome {
        if found.pax.sparse_version != (Some(1), Some(0)) {
            return Err(self.damaged("a sparse file in a form that is not known (PAX, not 1.0)"));
        }
        let before = self.left;
        let mut number = || -> Outcome<u64> {
            let mut digits = String::new();
            loop {
                let mut byte = [0];
                self.read_exact(&mut byte).map_err(|error| self.failed(error))?;
                match byte[0] {
                    b'0'..=b'9' if digits.len() < 20 => digits.push(byte[0].into()),
                    b'\n' => break,
                    _ => return Err(self.damaged("a sparse file without its extents")),
                }
            }
            digits.parse().map_err(|_| self.damaged("a sparse file without its extents"))
        };
        let count = number()?;
        if count > EXTENTS_MAX as u64 {
            return Err(self.damaged("a sparse file with too many extents"));
        }
        found.extents.clear();
        for _ in 0..count {
            let extent = (number()?, number()?);
            found.extents.push(extent);
        }
        let mut rest = [0; BLOCK_LEN as usize];
        let used = before - self.left;
        let fill = (used.next_multiple_of(BLOCK_LEN) - used) as usize;
        self.read_exact(&mut rest[..fill]).map_err(|error| self.failed(error))?;
        found.len = found.pax.sparse_len.unwrap_or_default();
        found.path = found.pax.sparse_name.take().unwrap_or(std::mem::take(&mut found.path));
        Ok(())
    }

    /// In order, within the file, and as many bytes as there are.
    fn check_extents(&self, found: &Found) -> Outcome {
        let (mut end, mut total) = (0_u64, 0_u64);
        for (offset, len) in &found.extents {
            let fits =
                *offset >= end && offset.checked_add(*len).is_some_and(|end| end <= found.len);
            if !fits {
                return Err(self.damaged("a sparse file whose extents do not fit"));
            }
            end = offset + len;
            total += len;
        }
        if total != self.left {
            return Err(self.damaged("a sparse file whose extents do not fit"));
        }
        Ok(())
    }

    /// The stream, at the end of the archive.
    pub fn into_inner(self) -> R {
        self.from
    }
}

/// The contents of the present entry.
impl<R: Read> Read for Archive<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let count = self.from.read(&mut buf[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}
