//! Frames on the wire. Pure.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Largest frame accepted. kubectl and what builds on its library send what they read at once, 32 KiB.
const FRAME_BYTES_MAX: usize = 64 << 10;
const HEAD_BYTES: usize = 8;
const VERSION: u16 = 3;
const FIN: u8 = 1;

/// A frame as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// The client opens a stream; the header block is compressed.
    Open { stream: u32, fin: bool, block: Bytes },
    /// Bytes of a stream.
    Data { stream: u32, fin: bool, bytes: Bytes },
    /// The client gives a stream up.
    Reset { stream: u32 },
    /// To be sent back as it is.
    Ping { id: u32 },
    /// The client opens no more streams.
    GoAway,
    /// More headers of a stream; the block must be decompressed, for the ones after it depend on it.
    Headers { block: Bytes },
    /// A kind that means nothing here.
    Other,
}

/// Why bytes are no frame.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::kubelet) enum FrameError {
    #[error("SPDY version {0}, not 3")]
    Version(u16),
    #[error("a frame of {0} bytes is too large")]
    TooLarge(usize),
    #[error("a frame of kind {kind} is too short")]
    Short { kind: u16 },
}

/// Takes one whole frame off the front of `buffer`; `None` when there is none yet.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    if buffer.len() < HEAD_BYTES {
        return Ok(None);
    }
    let word = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
    let flags = buffer[4];
    let len = usize::from(buffer[5]) << 16 | usize::from(buffer[6]) << 8 | usize::from(buffer[7]);
    if len > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(len));
    }
    if buffer.len() < HEAD_BYTES + len {
        buffer.reserve(HEAD_BYTES + len - buffer.len());
        return Ok(None);
    }
    buffer.advance(HEAD_BYTES);
    let mut payload = buffer.split_to(len).freeze();
    let fin = flags & FIN != 0;
    if word >> 31 == 0 {
        return Ok(Some(Frame::Data { stream: word, fin, bytes: payload }));
    }
    let version = (word >> 16 & 0x7fff) as u16;
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let kind = (word & 0xffff) as u16;
    let needed = match kind {
        1 => 10,
        3 | 7 => 8,
        6 | 8 => 4,
        _ => 0,
    };
    if payload.len() < needed {
        return Err(FrameError::Short { kind });
    }
    let mut id = || payload.get_u32() & 0x7fff_ffff;
    Ok(Some(match kind {
        1 => {
            let stream = id();
            payload.advance(6);
            Frame::Open { stream, fin, block: payload }
        }
        3 => Frame::Reset { stream: id() },
        6 => Frame::Ping { id: payload.get_u32() },
        7 => Frame::GoAway,
        8 => {
            payload.advance(4);
            Frame::Headers { block: payload }
        }
        _ => Frame::Other,
    }))
}

/// The client's stream is accepted; `block` holds compressed headers.
pub(super) fn reply(stream: u32, block: &[u8]) -> Bytes {
    let mut payload = BytesMut::with_capacity(4 + block.len());
    payload.put_u32(stream);
    payload.put_slice(block);
    control(2, 0, &payload)
}

/// The stream is given up: `status` 3 refuses it, 5 cancels it.
pub(super) fn reset(stream: u32, status: u32) -> Bytes {
    let mut payload = BytesMut::with_capacity(8);
    payload.put_u32(stream);
    payload.put_u32(status);
    control(3, 0, &payload)
}

/// The answer to a ping.
pub(super) fn pong(id: u32) -> Bytes {
    control(6, 0, &id.to_be_bytes())
}

/// Bytes of a stream, and whether they are the last.
pub(in crate::kubelet) fn data(stream: u32, fin: bool, bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES + bytes.len());
    out.put_u32(stream);
    head(&mut out, if fin { FIN } else { 0 }, bytes);
    out.freeze()
}

fn control(kind: u16, flags: u8, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES + payload.len());
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    head(&mut out, flags, payload);
    out.freeze()
}

fn head(out: &mut BytesMut, flags: u8, payload: &[u8]) {
    // Callers' payloads are far below the 24 bits there are.
    out.put_u32(u32::from(flags) << 24 | (payload.len() as u32 & 0x00ff_ffff));
    out.put_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(bytes: &[u8]) -> Vec<Frame> {
        let mut buffer = BytesMut::from(bytes);
        std::iter::from_fn(|| take(&mut buffer).unwrap()).collect()
    }

    #[test]
    fn frames_come_off_whole_and_in_order() {
        let mut wire = Vec::new();
        wire.extend_from_slice(&control(1, FIN, &[0, 0, 0, 5, 0, 0, 0, 0, 0, 0, b'h']));
        wire.extend_from_slice(&data(5, false, b"abc"));
        wire.extend_from_slice(&data(5, true, b""));
        wire.extend_from_slice(&pong(7));
        wire.extend_from_slice(&reset(9, 5));
        wire.extend_from_slice(&control(4, 0, &[0; 12]));
        let want = vec![
            Frame::Open { stream: 5, fin: true, block: Bytes::from_static(b"h") },
            Frame::Data { stream: 5, fin: false, bytes: Bytes::from_static(b"abc") },
            Frame::Data { stream: 5, fin: true, bytes: Bytes::new() },
            Frame::Ping { id: 7 },
            Frame::Reset { stream: 9 },
            Frame::Other,
        ];
        assert_eq!(take_all(&wire), want);
        // However the bytes arrive.
        let mut buffer = BytesMut::new();
        let mut got = Vec::new();
        for byte in wire {
            buffer.put_u8(byte);
            got.extend(take(&mut buffer).unwrap());
        }
        assert_eq!(got, want);
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |bytes: &[u8]| take(&mut BytesMut::from(bytes)).unwrap_err();
        assert_eq!(refused(&[0x80, 2, 0, 1, 0, 0, 0, 0]), FrameError::Version(2));
        assert_eq!(refused(&[0x80, 3, 0, 1, 0, 0, 0, 0]), FrameError::Short { kind: 1 });
        assert_eq!(refused(&[0, 0, 0, 1, 0, 1, 0, 1]), FrameError::TooLarge(0x1_0001));
    }
}
