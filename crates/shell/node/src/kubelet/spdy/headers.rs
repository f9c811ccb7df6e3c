//! Header blocks: name-value pairs in one zlib stream for each direction of a connection.

use bytes::{Buf, BufMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Headers of a stream are a few dozen bytes; more than this is an attack.
const BLOCK_BYTES_MAX: usize = 64 << 10;

/// The dictionary of SPDY/3: these words, each after its length in four bytes, then [`DICTIONARY_TAIL`].
const DICTIONARY_WORDS: &str = "options|head|post|put|delete|trace|accept|accept-charset|accept-encoding|accept-language|\
    accept-ranges|age|allow|authorization|cache-control|connection|content-base|content-encoding|content-language|\
    content-length|content-location|content-md5|content-range|content-type|date|etag|expect|expires|from|host|if-match|\
    if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|location|max-forwards|pragma|\
    proxy-authenticate|proxy-authorization|range|referer|retry-after|server|te|trailer|transfer-encoding|upgrade|\
    user-agent|vary|via|warning|www-authenticate|method|get|status|200 OK|version|HTTP/1.1|url|public|set-cookie|\
    keep-alive|origin";
const DICTIONARY_TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 \
    Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct \
    Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
    application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch\
    charset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// Why a header block cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::kubelet) enum HeaderError {
    #[error("decompressing headers: {0}")]
    Compression(String),
    #[error("headers of more than {BLOCK_BYTES_MAX} bytes")]
    TooLarge,
    #[error("malformed headers")]
    Malformed,
}

fn dictionary() -> Vec<u8> {
    let mut out = Vec::new();
    for word in DICTIONARY_WORDS.split('|') {
        // Words are short.
        out.put_u32(word.len() as u32);
        out.put_slice(word.as_bytes());
    }
    out.put_slice(DICTIONARY_TAIL.as_bytes());
    out
}

/// Reads the blocks of one direction, in order.
pub(super) struct Reader {
    inflate: Decompress,
}

impl Reader {
    pub(super) fn new() -> Reader {
        Reader { inflate: Decompress::new(true) }
    }

    /// The pairs in the next block.
    pub(super) fn read(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, HeaderError> {
        parse(&self.inflate(block)?).ok_or(HeaderError::Malformed)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, HeaderError> {
        let failed = |error: &dyn std::fmt::Display| HeaderError::Compression(error.to_string());
        let mut out = Vec::with_capacity(1024);
        loop {
            let (read, written) = (self.inflate.total_in(), out.len());
            let step = self.inflate.decompress_vec(block, &mut out, FlushDecompress::Sync);
            let used = usize::try_from(self.inflate.total_in() - read).unwrap_or(usize::MAX);
            block = &block[used.min(block.len())..];
            match step {
                Ok(Status::StreamEnd) => return Ok(out),
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate.set_dictionary(&dictionary()).map_err(|error| failed(&error))?;
                    continue;
                }
                Err(error) => return Err(failed(&error)),
            }
            if out.len() > BLOCK_BYTES_MAX {
                return Err(HeaderError::TooLarge);
            }
            if out.len() == out.capacity() {
                out.reserve(4096);
            } else if block.is_empty() || (used == 0 && out.len() == written) {
                return Ok(out);
            }
        }
    }
}

/// Writes the blocks of one direction, in order. It uses no dictionary, which readers accept.
pub(super) struct Writer {
    deflate: Compress,
}

impl Writer {
    pub(super) fn new() -> Writer {
        Writer { deflate: Compress::new(Compression::fast(), true) }
    }

    /// A block of these pairs.
    pub(super) fn write(&mut self, pairs: &[(&str, &str)]) -> Result<Vec<u8>, HeaderError> {
        let mut plain = Vec::new();
        plain.put_u32(pairs.len() as u32);
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            plain.put_u32(text.len() as u32);
            plain.put_slice(text.as_bytes());
        }
        // Room for a block that does not shrink, and for the mark that ends it.
        let mut out = Vec::with_capacity(plain.len() + 64);
        self.deflate
            .compress_vec(&plain, &mut out, FlushCompress::Sync)
            .map_err(|error| HeaderError::Compression(error.to_string()))?;
        Ok(out)
    }
}

fn parse(mut block: &[u8]) -> Option<Vec<(String, String)>> {
    let text = |block: &mut &[u8]| -> Option<String> {
        let len = usize::try_from(block.try_get_u32().ok()?).ok()?;
        let (text, rest) = block.split_at_checked(len)?;
        *block = rest;
        String::from_utf8(text.to_vec()).ok()
    };
    let count = block.try_get_u32().ok()?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        pairs.push((text(&mut block)?, text(&mut block)?));
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_with_and_without_the_dictionary_are_read_in_order() {
        let mut with = Compress::new(Compression::default(), true);
        assert_eq!(with.set_dictionary(&dictionary()).unwrap(), 0xe3c6_a7c2, "the checksum that SPDY/3 is known by");
        let mut plain = Vec::new();
        plain.put_u32(1);
        for text in ["streamtype", "data"] {
            plain.put_u32(text.len() as u32);
            plain.put_slice(text.as_bytes());
        }
        let mut reader = Reader::new();
        for _ in 0..3 {
            let mut block = Vec::with_capacity(256);
            with.compress_vec(&plain, &mut block, FlushCompress::Sync).unwrap();
            assert_eq!(reader.read(&block).unwrap(), [("streamtype".to_owned(), "data".to_owned())]);
        }
        let (mut writer, mut reader) = (Writer::new(), Reader::new());
        for _ in 0..2 {
            let block = writer.write(&[("a", "b"), ("c", "")]).unwrap();
            let want = [("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())];
            assert_eq!(reader.read(&block).unwrap(), want);
        }
    }

    #[test]
    fn garbage_and_bombs_are_refused() {
        assert!(matches!(Reader::new().read(b"garbage"), Err(HeaderError::Compression(_))));
        let mut deflate = Compress::new(Compression::best(), true);
        let mut bomb = Vec::with_capacity(1 << 20);
        deflate.compress_vec(&vec![0; 8 << 20], &mut bomb, FlushCompress::Sync).unwrap();
        assert!(matches!(Reader::new().read(&bomb), Err(HeaderError::TooLarge)));
        let mut deflate = Compress::new(Compression::fast(), true);
        let mut short = Vec::with_capacity(256);
        deflate.compress_vec(&[0, 0, 0, 9, 0, 0, 0, 200, b'x'], &mut short, FlushCompress::Sync).unwrap();
        assert!(matches!(Reader::new().read(&short), Err(HeaderError::Malformed)));
    }
}
