//! An input as a list of steps: frames, and things that happen beside them.
//!
//! A step is `kind[1] len[2]` and `len` bytes. Frames are written without
//! their size field, which is added here: a fuzzer that has to guess four
//! bytes of length would seldom come past the first check. A step of kind
//! `RAW` is a frame as it stands, wrong size and all.

/// Steps of one input; more are ignored, so that a run stays short.
pub const STEPS_MAX: usize = 256;

/// A frame without its size field.
pub const FRAME: u8 = 0;
/// A frame with whatever its size field says.
pub const RAW: u8 = 1;
/// Anything above is an event, whose meaning is the target's.
pub const EVENT: u8 = 2;

/// One step of an input.
pub enum Step<'a> {
    Frame(Vec<u8>),
    Event { kind: u8, bytes: &'a [u8] },
}

/// Cuts an input into steps; a last one that is not whole is left out.
pub fn steps(input: &[u8]) -> impl Iterator<Item = Step<'_>> {
    let mut rest = input;
    let next = move || {
        let (header, behind) = rest.split_first_chunk::<3>()?;
        let len = u16::from_le_bytes([header[1], header[2]]).into();
        let (bytes, behind) = behind.split_at_checked(len)?;
        rest = behind;
        Some(match header[0] {
            FRAME => Step::Frame(sized(bytes)),
            RAW => Step::Frame(bytes.to_vec()),
            kind => Step::Event { kind: kind - EVENT, bytes },
        })
    };
    std::iter::from_fn(next).take(STEPS_MAX)
}

/// Appends a step, the reverse of `steps`.
pub fn put(kind: u8, bytes: &[u8], input: &mut Vec<u8>) {
    input.push(kind);
    input.extend((bytes.len() as u16).to_le_bytes());
    input.extend(bytes);
}

/// Appends a whole frame as a step.
pub fn put_frame(frame: &[u8], input: &mut Vec<u8>) {
    put(FRAME, &frame[4..], input);
}

fn sized(body: &[u8]) -> Vec<u8> {
    let size = body.len() as u32 + 4;
    [&size.to_le_bytes(), body].concat()
}
