//! Messages that arrive and leave, for `-D 8` and `-D 16`.

use ninep::MessageType;
use ninep::server::ConnId;
use peer::conn::ConnEffect;

/// A message: of the requests that we answer, or of those that we send.
pub fn frame(conn: ConnId, serves: impl Fn(ConnId) -> bool, header: &[u8], len: u32) {
    if log::max_level() == log::LevelFilter::Off {
        return;
    }
    let target = if serves(conn) { "9p-server" } else { "9p-client" };
    if let [_, _, _, _, message_type, low, high, ..] = *header {
        let (message_type, tag) = (MessageType(message_type), u16::from_le_bytes([low, high]));
        log::trace!(target: target, "{conn:?} {message_type} tag {tag}, {len} bytes");
    }
}

/// What is about to be done with a connection.
pub fn effect(effect: &ConnEffect, serves: impl Fn(ConnId) -> bool) {
    if log::max_level() == log::LevelFilter::Off {
        return;
    }
    match effect {
        ConnEffect::Send { conn, bytes } => {
            let mut rest = bytes.as_slice();
            while let Some(len) = ninep::wire::frame_len(rest) {
                let (message, after) = rest.split_at((len as usize).clamp(4, rest.len()));
                frame(*conn, &serves, message, len);
                rest = after;
            }
        }
        ConnEffect::SendBulk { conn, header, len, .. } => {
            frame(*conn, &serves, header, *len + header.len() as u32);
        }
        ConnEffect::Connect { conn, addr } => {
            log::debug!(target: "general", "{conn:?}: connecting to {addr}");
        }
        // Each is seen when it is taken.
        ConnEffect::Replies { .. } => {}
        ConnEffect::Close { conn } => log::debug!(target: "general", "{conn:?}: closing"),
    }
}
