//! Protobuf's wire format: a message as a sequence of numbered items.

use super::ProtobufError;

/// The content of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'b> {
    /// A variable-length, 64-bit or 32-bit number, as bits.
    Number(u64),
    /// A string, bytes or a message.
    Bytes(&'b [u8]),
}

/// Iterates over the fields of a message; ends after the first error.
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Reader { rest: bytes }
    }

    fn item(&mut self) -> Result<(u32, Item<'b>), ProtobufError> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| ProtobufError::Malformed)?;
        let item = match tag & 7 {
            0 => Item::Number(self.varint()?),
            1 => Item::Number(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Malformed)?;
                Item::Bytes(self.take(length)?)
            }
            5 => Item::Number(u32::from_le_bytes(self.array()?).into()),
            _ => return Err(ProtobufError::Malformed),
        };
        Ok((number, item))
    }

    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Malformed)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtobufError> {
        self.take(N)?.try_into().map_err(|_| ProtobufError::Malformed)
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], ProtobufError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ProtobufError::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

impl<'b> Iterator for Reader<'b> {
    type Item = Result<(u32, Item<'b>), ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = self.item();
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_item_and_stops_at_an_error() {
        let read = |bytes: &'static [u8]| Reader::new(bytes).collect::<Vec<_>>();
        assert_eq!(read(&[0x08, 0x96, 0x01]), [Ok((1, Item::Number(150)))]);
        assert_eq!(read(&[0x12, 2, b'h', b'i']), [Ok((2, Item::Bytes(b"hi")))]);
        assert_eq!(read(&[0x1d, 1, 0, 0, 0]), [Ok((3, Item::Number(1)))]);
        assert_eq!(read(&[0x08; 12]), [1; 6].map(|it| Ok((it, Item::Number(8)))));
        assert_eq!(read(&[0x08, 0xff]), [Err(ProtobufError::Malformed)]);
        assert_eq!(read(&[0x0b]), [Err(ProtobufError::Malformed)]);
    }
}
