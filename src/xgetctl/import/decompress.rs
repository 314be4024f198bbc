//! A stream as it was before gzip, xz or zstd, whichever its first bytes name.
//!
//! Each format's own check sums are held. Memory is bounded whatever a stream asks for.

use lzma_rust2::XzReader;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read};

/// What a stream may make the decoder hold: more than any preset of xz and zstd -19
/// asks for.
const XZ_MEMORY_KIB: u32 = 256 << 10;
const ZSTD_WINDOW_BYTES: u64 = 256 << 20;

const GZIP: &[u8] = &[0x1f, 0x8b];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BZIP2: &[u8] = b"BZh";

/// The plain stream. Fails for a compression that is not known.
pub fn reader<'a>(from: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut from = BufReader::with_capacity(1 << 16, from);
    let head = from.fill_buf()?;
    if head.starts_with(GZIP) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(from)));
    }
    if head.starts_with(XZ) {
        return Ok(Box::new(XzReader::new_mem_limit(from, true, XZ_MEMORY_KIB)));
    }
    if head.starts_with(ZSTD) {
        return Ok(Box::new(Zstd { from: Some(from), frame: None }));
    }
    if head.starts_with(BZIP2) {
        let why = "it is compressed with bzip2: gzip, xz, zstd or nothing is understood; unpack it \
                   (tar -xjf) and import the directory";
        return Err(Error::new(ErrorKind::InvalidData, why));
    }
    Ok(Box::new(from))
}

/// zstd's frames, one after another, each with its check sum held.
struct Zstd<R: BufRead> {
    /// Between two frames.
    from: Option<R>,
    frame: Option<StreamingDecoder<R, FrameDecoder>>,
}

impl<R: BufRead> Zstd<R> {
    /// False at the end of the stream.
    fn begin(&mut self) -> io::Result<bool> {
        let Some(mut from) = self.from.take() else { return Ok(false) };
        if from.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let frame = StreamingDecoder::new_with_max_window_size(from, ZSTD_WINDOW_BYTES);
        self.frame = Some(frame.map_err(Error::other)?);
        Ok(true)
    }

    fn end(&mut self, frame: StreamingDecoder<R, FrameDecoder>) -> io::Result<()> {
        let (from, decoder) = frame.into_parts();
        let stated = decoder.get_checksum_from_data();
        if stated.is_some() && stated != decoder.get_calculated_checksum() {
            return Err(Error::new(ErrorKind::InvalidData, "zstd's check sum is another"));
        }
        self.from = Some(from);
        Ok(())
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(mut frame) = self.frame.take() {
                match frame.read(buf)? {
                    0 => self.end(frame)?,
                    count => {
                        self.frame = Some(frame);
                        return Ok(count);
                    }
                }
            }
            if !self.begin()? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn noise() -> Vec<u8> {
        (0..300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
    }

    fn compressed(program: &str, args: &[&str], plain: &[u8]) -> Vec<u8> {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut to = child.stdin.take().unwrap();
        let plain = plain.to_vec();
        let writer = std::thread::spawn(move || io::Write::write_all(&mut to, &plain));
        let out = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        out.stdout
    }

    fn plain(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        reader(bytes)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn what_was_compressed_is_there_again() {
        let noise = noise();
        assert_eq!(plain(&noise).unwrap(), noise);
        for (program, args) in
            [("gzip", &["-c"][..]), ("xz", &["-c", "-6"]), ("zstd", &["-qc", "-19", "--check"])]
        {
            let packed = compressed(program, args, &noise);
            assert_eq!(plain(&packed).unwrap(), noise, "{program}");
            let twice = [&packed[..], &packed[..]].concat();
            assert_eq!(plain(&twice).unwrap(), [&noise[..], &noise[..]].concat(), "{program}");
        }
    }

    #[test]
    fn what_is_cut_off_or_changed_is_an_error() {
        let text: Vec<u8> = b"some text that is not the same ".repeat(5000);
        for (program, args) in
            [("gzip", &["-c"][..]), ("xz", &["-c"]), ("zstd", &["-qc", "--check"])]
        {
            let mut packed = compressed(program, args, &text);
            assert!(plain(&packed[..packed.len() - 3]).is_err(), "{program} cut off");
            let middle = packed.len() / 2;
            packed[middle] ^= 0x10;
            assert!(plain(&packed).is_err(), "{program} changed");
        }
        assert!(plain(b"BZh9").is_err());
    }
}
