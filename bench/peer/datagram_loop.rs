//! The ceiling: one socket, recvmmsg and sendmmsg of 32, and answers that cost next to nothing.
//! It knows no account and checks nothing; it hands back the lines that an answer must repeat
//! (RFC 3261 8.2.6.2), so that the generator verifies it like a registrar. 401 to what has no
//! credentials, otherwise 200 with the contact of the request. `datagram-loop HOST:PORT`.

use std::io;
use std::mem;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;
use std::ptr;

use socket2::{Domain, Socket, Type};

const BATCH: usize = 32;
const DATAGRAM_BYTES: usize = 4096;
/// What a registrar asks the kernel for as well.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

const CHALLENGE: &[u8] = b"WWW-Authenticate: Digest realm=\"example.com\", \
    nonce=\"AAAAAAAAAAAAAAAAAAAA\", algorithm=MD5, qop=\"auth\"\r\n";

fn main() -> ExitCode {
    let address = std::env::args().nth(1).and_then(|text| text.parse::<SocketAddrV4>().ok());
    let Some(address) = address else {
        eprintln!("usage: datagram-loop IPV4:PORT");
        return ExitCode::from(2);
    };
    match serve(address) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("datagram-loop: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Never {}

fn serve(address: SocketAddrV4) -> io::Result<Never> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    let mut batch = Batch::new();
    loop {
        let received = batch.receive(socket.as_raw_fd())?;
        batch.answer(received);
        batch.send(socket.as_raw_fd(), received)?;
    }
}

/// Writes the answer to `request` into `out` and returns its length; 0 where it does not fit.
fn answer(request: &[u8], out: &mut [u8]) -> usize {
    let mut text = Text { out, len: 0, fits: true };
    // The status line is patched once it is known; both have three digits.
    text.put(b"SIP/2.0 401 OK\r\n");
    let mut contact: &[u8] = b"";
    let mut authorized = false;
    let mut rest = request;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (line, after) = rest.split_at(end + 1);
        rest = after;
        match line {
            [b'V', b'i', b'a', ..] | [b'F', b'r', ..] | [b'C', b'a' | b'S', ..] => text.put(line),
            [b'T', b'o', .., _, _] => {
                text.put(&line[..line.len() - 2]);
                text.put(b";tag=0123456789abcdef\r\n");
            }
            [b'C', b'o', b'n', b't', b'a', ..] => contact = line,
            [b'A', b'u', ..] => authorized = true,
            _ => {}
        }
    }
    if authorized {
        let end = memchr::memchr(b'>', contact).map_or(0, |at| at + 1);
        text.put(&contact[..end]);
        text.put(b";expires=60\r\n");
    } else {
        text.put(CHALLENGE);
    }
    text.put(b"Content-Length: 0\r\n\r\n");
    if !text.fits {
        return 0;
    }
    let len = text.len;
    if authorized {
        out[8..11].copy_from_slice(b"200");
    }
    len
}

struct Text<'a> {
    out: &'a mut [u8],
    len: usize,
    fits: bool,
}

impl Text<'_> {
    fn put(&mut self, bytes: &[u8]) {
        match self.out.get_mut(self.len..self.len + bytes.len()) {
            Some(room) => room.copy_from_slice(bytes),
            None => self.fits = false,
        }
        self.len += bytes.len();
    }
}

/// What comes in and what goes out, slot by slot; an answer goes where its request came from.
struct Batch {
    requests: Vec<[u8; DATAGRAM_BYTES]>,
    answers: Vec<[u8; DATAGRAM_BYTES]>,
    peers: Vec<libc::sockaddr_in>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Batch {
    fn new() -> Self {
        // SAFETY: all-zero is valid for these plain structs of integers and null pointers.
        let (peer, vector, header) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Batch {
            requests: vec![[0; DATAGRAM_BYTES]; BATCH],
            answers: vec![[0; DATAGRAM_BYTES]; BATCH],
            peers: vec![peer; BATCH],
            vectors: vec![vector; BATCH],
            headers: vec![header; BATCH],
        }
    }

    /// Points message `slot` at that many bytes of a buffer.
    fn aim(&mut self, slot: usize, base: *mut u8, len: usize) {
        self.vectors[slot] = libc::iovec { iov_base: base.cast(), iov_len: len };
        let header = &mut self.headers[slot].msg_hdr;
        header.msg_iov = &raw mut self.vectors[slot];
        header.msg_iovlen = 1;
        header.msg_name = (&raw mut self.peers[slot]).cast();
        header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    }

    /// Sleeps until there is one datagram, then takes what there is.
    fn receive(&mut self, socket: RawFd) -> io::Result<usize> {
        for slot in 0..BATCH {
            let base = self.requests[slot].as_mut_ptr();
            self.aim(slot, base, DATAGRAM_BYTES);
        }
        loop {
            // SAFETY: every header was just pointed into vectors of fixed length that `self` owns,
            // each at a buffer of its own.
            let received = unsafe {
                libc::recvmmsg(
                    socket,
                    self.headers.as_mut_ptr(),
                    BATCH as libc::c_uint,
                    libc::MSG_WAITFORONE as _,
                    ptr::null_mut(),
                )
            };
            if let Ok(received) = usize::try_from(received) {
                return Ok(received);
            }
            match io::Error::last_os_error() {
                // The next call says the same without it: a peer that is gone is no trouble here.
                error if is_passing(&error) => {}
                error => return Err(error),
            }
        }
    }

    fn answer(&mut self, received: usize) {
        for slot in 0..received {
            let len = self.headers[slot].msg_len as usize;
            let len = answer(&self.requests[slot][..len], &mut self.answers[slot]);
            let base = self.answers[slot].as_mut_ptr();
            self.aim(slot, base, len);
        }
    }

    fn send(&mut self, socket: RawFd, count: usize) -> io::Result<()> {
        let mut from = 0;
        while from < count {
            let rest = &mut self.headers[from..count];
            // SAFETY: `answer` pointed these headers at answers that `self` owns.
            let sent =
                unsafe { libc::sendmmsg(socket, rest.as_mut_ptr(), rest.len() as libc::c_uint, 0) };
            match usize::try_from(sent) {
                Ok(sent) => from += sent,
                Err(_) => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    // This one has no taker any more; the others have.
                    error if is_passing(&error) => from += 1,
                    error => return Err(error),
                },
            }
        }
        Ok(())
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused)
}
