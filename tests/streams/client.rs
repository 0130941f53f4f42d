//! A client of connections, written against the RFCs and without a line of the server's code:
//! blocking sockets, TLS by rustls, WebSocket frames by hand.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::common::{Phone, Response};

/// Only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(30);

pub trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// A socket without a second descriptor for whoever looks at it beside the wire.
#[derive(Clone)]
struct Shared(Arc<TcpStream>);

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One connection.
pub struct Client {
    wire: Box<dyn Wire>,
    pub socket: Arc<TcpStream>,
    websocket: bool,
    /// What has come in and has not been asked for.
    pending: Vec<u8>,
    via: &'static str,
}

impl Client {
    /// Connects by `transport`; the secure ones need `tls`.
    pub fn connect(
        transport: &str,
        to: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Client> {
        let socket = TcpStream::connect(to)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_nodelay(true)?;
        let socket = Arc::new(socket);
        let shared = Shared(Arc::clone(&socket));
        let secure = matches!(transport, "tls" | "wss");
        let wire: Box<dyn Wire> = if secure {
            let name = ServerName::try_from("sip.example.com").expect("a name");
            let config = Arc::clone(tls.expect("TLS needs its settings"));
            let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
            Box::new(StreamOwned::new(session, shared))
        } else {
            Box::new(shared)
        };
        let websocket = matches!(transport, "ws" | "wss");
        let via = match transport {
            "tcp" => "TCP",
            "tls" => "TLS",
            "ws" => "WS",
            "wss" => "WSS",
            other => panic!("no transport {other}"),
        };
        let mut client = Client { wire, socket, websocket, pending: Vec::new(), via };
        if websocket {
            client.open_websocket()?;
        }
        Ok(client)
    }

    pub fn tcp(to: SocketAddr) -> Client {
        Client::connect("tcp", to, None).expect("a connection")
    }

    fn open_websocket(&mut self) -> io::Result<()> {
        self.raw(
            b"GET / HTTP/1.1\r\nHost: sip.example.com\r\nUpgrade: websocket\r\n\
              Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
              Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )?;
        let head = self.until(b"\r\n\r\n")?;
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        Ok(())
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes)?;
        self.wire.flush()
    }

    /// A message, in a frame where there are frames.
    pub fn send(&mut self, message: &[u8]) {
        let bytes = if self.websocket { frame(1, message) } else { message.to_vec() };
        self.raw(&bytes).expect("the server reads");
    }

    /// A request of a phone, with the Via of this transport.
    pub fn request(&mut self, text: &str) {
        let text = text.replace("SIP/2.0/UDP", &format!("SIP/2.0/{}", self.via));
        self.send(text.as_bytes());
    }

    /// The answer to a request.
    pub fn ask(&mut self, text: &str) -> Response {
        self.request(text);
        self.receive()
    }

    /// Registers with digest.
    pub fn register(&mut self, phone: &mut Phone, expires: u32) -> Response {
        let mut response = self.ask(&phone.register(expires));
        if response.status == 401 && phone.take_challenge(&response) {
            response = self.ask(&phone.register(expires));
        }
        response
    }

    fn more(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16_384];
        match self.wire.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            got => {
                self.pending.extend(&buffer[..got]);
                Ok(())
            }
        }
    }

    /// Everything up to and including `end`.
    pub fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.pending.windows(end.len()).position(|window| window == end) {
                return Ok(self.pending.drain(..at + end.len()).collect());
            }
            self.more()?;
        }
    }

    /// The next frame: its opcode and payload.
    pub fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            let (head, length) = match *self.pending {
                [_, short @ 0..=125, ..] => (2, usize::from(short)),
                [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
                [_, 127, ..] => panic!("a frame of more than 64 KiB"),
                [_, masked @ 128..=255, ..] => panic!("a server's frame is not masked: {masked}"),
                _ => {
                    self.more()?;
                    continue;
                }
            };
            if self.pending.len() >= head + length {
                let frame: Vec<u8> = self.pending.drain(..head + length).collect();
                return Ok((frame[0] & 0x0f, frame[head..].to_vec()));
            }
            self.more()?;
        }
    }

    pub fn receive(&mut self) -> Response {
        self.try_receive().expect("an answer")
    }

    /// A message of the stream with its body, whatever it is.
    pub fn message(&mut self) -> io::Result<Vec<u8>> {
        let mut message = self.until(b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&message);
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
        while self.pending.len() < length {
            self.more()?;
        }
        message.extend(self.pending.drain(..length));
        Ok(message)
    }

    pub fn try_receive(&mut self) -> io::Result<Response> {
        let bytes = if self.websocket {
            let (opcode, payload) = self.frame()?;
            assert!(matches!(opcode, 1 | 2), "frame {opcode}: {payload:?}");
            payload
        } else {
            self.until(b"\r\n\r\n")?
        };
        Ok(Response::parse(&bytes))
    }

    /// Waits until the server closes; what it says last is returned.
    pub fn closed(&mut self) -> Vec<u8> {
        loop {
            match self.more() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("the server did not close")
                }
                Err(_) => return std::mem::take(&mut self.pending),
            }
        }
    }
}

/// A masked frame.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(len).expect("a short frame").to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// An OPTIONS request.
pub fn options(cseq: u32) -> String {
    format!(
        "OPTIONS sip:example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP phone.test;branch=z9hG4bK-options-{cseq};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:probe@example.com>;tag=probe\r\n\
         To: <sip:example.com>\r\nCall-ID: options-probe\r\nCSeq: {cseq} OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    )
}
