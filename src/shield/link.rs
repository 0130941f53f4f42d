//! The server's end of the connection to `aorta-nft`.

use std::fmt;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::line::{Answer, LINE_BYTES_MAX, Order};

/// How long the other side may leave the socket full, or a connection unaccepted.
const WRITE_MAX: Duration = Duration::from_secs(5);
/// How long an answer may take: the largest change takes a second or two.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// A connection.
pub struct Link {
    stream: UnixStream,
}

/// Why there is none any more.
#[derive(Debug)]
pub enum LinkError {
    /// Nobody listens, or may be reached.
    Absent(io::Error),
    /// It broke.
    Broken(io::Error),
    /// What answers there is no `aorta-nft`, or serves another user.
    Strange,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Absent(error) => write!(f, "aorta-nft is not there ({error})"),
            LinkError::Broken(error) => write!(f, "aorta-nft does not answer ({error})"),
            LinkError::Strange => {
                f.write_str("aorta-nft does not serve this user, or another server has it")
            }
        }
    }
}

impl Link {
    /// Connects to the one that listens at `path`.
    ///
    /// # Errors
    /// [`LinkError::Absent`]
    pub fn connect(path: &Path) -> Result<Link, LinkError> {
        let connected = || -> io::Result<UnixStream> {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // Bounds the wait for a place in its queue too.
            socket.set_write_timeout(Some(WRITE_MAX))?;
            socket.set_read_timeout(Some(ANSWER_MAX))?;
            socket.connect(&SockAddr::unix(path)?)?;
            Ok(UnixStream::from(OwnedFd::from(socket)))
        };
        Ok(Link { stream: connected().map_err(LinkError::Absent)? })
    }

    /// Says these orders and a ping, and waits for the answer.
    ///
    /// # Errors
    /// [`LinkError::Broken`] or [`LinkError::Strange`]; nobody knows then what it holds.
    pub fn say(&self, orders: &[Order]) -> Result<Answer, LinkError> {
        let mut out = BufWriter::with_capacity(1 << 16, &self.stream);
        let said =
            orders.iter().chain([&Order::Ping]).try_for_each(|order| writeln!(out, "{order}"));
        said.and_then(|()| out.flush()).map_err(LinkError::Broken)?;
        let mut line = Vec::new();
        let most = LINE_BYTES_MAX as u64 + 1;
        // It says one line for each ping, so nothing is left behind in the buffer.
        let read = BufReader::new((&self.stream).take(most)).read_until(b'\n', &mut line);
        read.map_err(LinkError::Broken)?;
        let answer = line.strip_suffix(b"\n").and_then(Answer::parse);
        answer.ok_or(LinkError::Strange)
    }
}

/// Whether anybody listens there. Nothing is said, so nothing changes.
///
/// # Errors
/// [`LinkError::Absent`]
pub fn helper_listens(path: &Path) -> Result<(), LinkError> {
    Link::connect(path).map(drop)
}
