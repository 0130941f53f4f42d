//! A message divided a second time, line by line on owned values and without a line of the
//! server's parser, so that it can disagree with it.

use aorta::limits::{HEADER_NAME_BYTES_MAX, HEADERS_MAX, MESSAGE_BYTES_MAX};

/// A message: its start line and its header fields.
pub struct Naive {
    pub start: Vec<u8>,
    /// Names as they stood, values in [`words`].
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether an empty line ended the fields.
    pub ended: bool,
}

/// Text with every run of white space as one space, and none at the ends: what is left of a value
/// when its folds do not count.
pub fn words(text: &[u8]) -> Vec<u8> {
    let pieces = text.split(|byte| b" \t\r\n".contains(byte)).filter(|piece| !piece.is_empty());
    pieces.collect::<Vec<_>>().join(&b' ')
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// Name and value of a line, if it is a header line.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let name_len = line.iter().position(|&byte| !is_token(byte))?;
    let gap = line[name_len..].iter().position(|byte| !b" \t".contains(byte))?;
    let (name, rest) = (&line[..name_len], &line[name_len + gap..]);
    let value = rest.strip_prefix(b":")?;
    (!name.is_empty() && name.len() <= HEADER_NAME_BYTES_MAX).then_some((name, value))
}

impl Naive {
    /// Reads what there is of a message. `None` where not even a start line ends.
    pub fn read(bytes: &[u8]) -> Option<Naive> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return None;
        }
        // What stands behind the last line end is no line.
        let whole = &bytes[..=bytes.iter().rposition(|&byte| byte == b'\n')?];
        let mut lines = whole[..whole.len() - 1]
            .split(|&byte| byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .skip_while(|line| line.is_empty())
            .peekable();
        let start = lines.next()?.to_vec();
        let (mut fields, mut ended) = (Vec::new(), false);
        while let Some(line) = lines.next() {
            if line.is_empty() {
                ended = true;
                break;
            }
            let mut text = line.to_vec();
            while let Some(fold) =
                lines.next_if(|line| line.starts_with(b" ") || line.starts_with(b"\t"))
            {
                text.push(b' ');
                text.extend_from_slice(fold);
            }
            // A line that goes on where the datagram ends is not whole.
            let cut =
                lines.peek().is_none() && matches!(bytes.get(whole.len()), Some(b' ' | b'\t'));
            let name_stands_in_the_line = field(line).is_some();
            if cut {
                break;
            }
            if let Some((name, value)) = field(&text).filter(|_| name_stands_in_the_line)
                && fields.len() < HEADERS_MAX
            {
                fields.push((name.to_vec(), words(value)));
            }
        }
        Some(Naive { start, fields, ended })
    }

    /// Values of the fields of a name, long or compact, in order.
    pub fn all<'a>(&'a self, name: &'a [u8], compact: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let is = move |found: &[u8]| {
            found.eq_ignore_ascii_case(name)
                || (!compact.is_empty() && found.eq_ignore_ascii_case(compact))
        };
        self.fields.iter().filter(move |(found, _)| is(found)).map(|(_, value)| &value[..])
    }

    /// The word in front of the start line's first space.
    pub fn method(&self) -> &[u8] {
        self.start.split(|&byte| byte == b' ').next().unwrap_or_default()
    }

    /// Whether it is a status line, of whatever version.
    pub fn is_response(&self) -> bool {
        self.start.get(..4).is_some_and(|front| front.eq_ignore_ascii_case(b"SIP/"))
    }
}

/// A message in a failure: readable, and short enough to be read.
pub fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 1500;
    let front = bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii();
    format!("{front} ({} bytes)", bytes.len())
}
