//! Connections fed by hand: what comes in is cut anywhere, what goes out is read as a client would.

use std::sync::Arc;

use proptest::prelude::*;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

use super::*;

const MESSAGE: &[u8] = b"OPTIONS sip:a.test SIP/2.0\r\nVia: SIP/2.0/TCP b.test\r\n\
                         Content-Length: 4\r\n\r\nbody";
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn rules() -> Rules {
    Rules { message_bytes_max: 65_535, origins: Vec::new() }
}

/// One connection and what it has said.
struct Bench {
    connection: Connection,
    loan: Loan,
    table: Box<HeaderTable>,
    messages: Vec<Vec<u8>>,
    output: Vec<u8>,
    over: Option<CloseReason>,
}

impl Bench {
    fn new(transport: Transport, session: Option<Session>) -> Bench {
        Bench {
            connection: Connection::new(transport, session, &rules()),
            loan: Loan::new(),
            table: Box::new(HeaderTable::new()),
            messages: Vec::new(),
            output: Vec::new(),
            over: None,
        }
    }

    /// One turn: `bytes` arrive, each message is answered with `ok`.
    fn turn(&mut self, bytes: &[u8]) {
        self.connection.borrow(&mut self.loan);
        self.connection.input().extend_from_slice(bytes);
        if let Err(reason) = self.connection.received() {
            self.over = Some(reason);
        }
        while self.over.is_none() {
            match self.connection.next(&rules(), &mut self.table) {
                Step::More => break,
                Step::Over(reason) => self.over = Some(reason),
                Step::Message { last } => {
                    self.messages.push(self.connection.message().to_vec());
                    self.connection.consume();
                    self.connection.send(b"ok").unwrap();
                    if last {
                        self.over = Some(CloseReason::Faulty);
                    }
                }
            }
        }
        let output = self.connection.output().to_vec();
        self.connection.wrote(output.len());
        self.output.extend(output);
        self.connection.give_back(&mut self.loan);
    }
}

/// A masked frame, as a client sends it.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[test]
fn an_idle_connection_has_no_buffer() {
    let mut bench = Bench::new(Transport::Tcp, None);
    bench.turn(&[MESSAGE, b"\r\n\r\n"].concat());
    assert_eq!((bench.messages.len(), &bench.output[..]), (1, &b"ok\r\n"[..]));
    assert_eq!(bench.connection.buffer_bytes(), 0);
    bench.turn(b"\r\n");
    assert!(!bench.connection.is_unfinished(), "half a keepalive is no message");
    bench.turn(b"\r\n");
    assert_eq!(bench.output, b"ok\r\n\r\n");
    bench.turn(&MESSAGE[..30]);
    assert!(bench.connection.is_unfinished());
    assert_eq!(bench.connection.buffer_bytes(), 30);
    bench.turn(&MESSAGE[30..]);
    assert_eq!((bench.messages.len(), bench.connection.buffer_bytes()), (2, 0));
}

#[test]
fn a_message_that_has_to_wait_is_found_again() {
    let mut bench = Bench::new(Transport::Tcp, None);
    let Bench { connection, loan, table, .. } = &mut bench;
    connection.borrow(loan);
    connection.input().extend([MESSAGE, MESSAGE].concat());
    assert_eq!(connection.next(&rules(), table), Step::Message { last: false });
    connection.consume();
    assert_eq!(connection.next(&rules(), table), Step::Message { last: false });
    connection.give_back(loan);
    connection.borrow(loan);
    assert_eq!(connection.next(&rules(), table), Step::Message { last: false });
    assert_eq!(connection.message(), MESSAGE);
    connection.consume();
    assert_eq!(connection.next(&rules(), table), Step::More);
}

#[test]
fn a_websocket_opens_speaks_and_closes() {
    let mut bench = Bench::new(Transport::Ws, None);
    bench.turn(UPGRADE);
    assert!(bench.output.starts_with(b"HTTP/1.1 101 ") && bench.connection.is_open());
    bench.output.clear();
    bench.turn(&[frame(1, MESSAGE), frame(9, b"hi"), frame(1, b"\r\n\r\n")].concat());
    assert_eq!(bench.messages, [MESSAGE]);
    assert_eq!(bench.output, b"\x81\x02ok\x8a\x02hi\x81\x02\r\n");
    assert_eq!(bench.connection.take_pongs(), 2);
    bench.output.clear();
    bench.turn(&frame(8, &1000u16.to_be_bytes()));
    assert_eq!(bench.over, Some(CloseReason::ByPeer));
    assert_eq!(bench.output, b"\x88\x02\x03\xe8");
}

#[test]
fn what_is_no_websocket_is_told_so_in_http() {
    let mut bench = Bench::new(Transport::Ws, None);
    bench.turn(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(bench.over, Some(CloseReason::Foreign));
    assert!(bench.output.starts_with(b"HTTP/1.1 426 "));
    assert!(bench.connection.send(b"SIP").is_err());
}

/// A page that somebody in an office opens must not get the office's phones into trouble.
#[test]
fn what_a_page_has_a_browser_send_ends_the_connection_and_is_no_offence() {
    let posted = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nREGISTER ";
    let unfinished = &posted[..posted.len() - 5];
    for http in [&posted[..], unfinished, b"GET /x HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\n"] {
        let mut bench = Bench::new(Transport::Tcp, None);
        bench.turn(http);
        assert_eq!(bench.over, Some(CloseReason::Http), "{}", http.escape_ascii());
        assert!(bench.messages.is_empty() && bench.output.is_empty());
    }
    let origins = Rules { origins: vec!["https://phone.test".to_owned()], ..rules() };
    let mut foreign = Connection::new(Transport::Ws, None, &origins);
    let request = String::from_utf8(UPGRADE.to_vec()).unwrap();
    let request = request.replacen("\r\n", "\r\nOrigin: https://page.test\r\n", 1);
    foreign.input().extend_from_slice(request.as_bytes());
    let step = foreign.next(&origins, &mut HeaderTable::new());
    assert_eq!(step, Step::Over(CloseReason::Foreign));
    assert!(foreign.output().starts_with(b"HTTP/1.1 403 "));
    assert!(!CloseReason::Http.is_offence() && !CloseReason::Foreign.is_offence());
    assert!(CloseReason::Foreign.is_told() && CloseReason::Garbage.is_offence());
}

#[test]
fn a_goodbye_is_said_where_there_is_a_word_for_it() {
    let mut bench = Bench::new(Transport::Ws, None);
    bench.turn(UPGRADE);
    bench.output.clear();
    bench.connection.say_goodbye(CloseReason::Stopping);
    assert_eq!(bench.connection.output(), b"\x88\x02\x03\xe9");
    let mut bench = Bench::new(Transport::Tcp, None);
    bench.connection.say_goodbye(CloseReason::Stopping);
    bench.turn(b"");
    assert_eq!(bench.output, b"");
}

/// Both ends of TLS 1.3.
fn tls() -> (Session, ClientConnection) {
    tls_of(&[&rustls::version::TLS13], false)
}

/// Both ends of TLS, the server's asking for a certificate that the client lacks or not at all.
fn tls_of(
    versions: &[&'static rustls::SupportedProtocolVersion],
    demanding: bool,
) -> (Session, ClientConnection) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
    let chain: CertificateDer<'static> = cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(chain.clone()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap();
    let server = if demanding {
        let roots = Arc::new(roots.clone());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        server.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        server.with_no_client_auth()
    };
    let server = server.with_single_cert(vec![chain], key.into()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("a.test").unwrap();
    (
        Session::new(&Arc::new(server)).unwrap(),
        ClientConnection::new(Arc::new(client), name).unwrap(),
    )
}

/// Carries bytes between the client and the connection, `piece` at a time, until both are silent.
/// Returns the text the client has read.
fn exchange(bench: &mut Bench, client: &mut ClientConnection, piece: usize) -> Vec<u8> {
    use std::io::Read;
    let mut text = Vec::new();
    loop {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).unwrap();
        }
        for bytes in sent.chunks(piece) {
            bench.turn(bytes);
        }
        let mut heard = &std::mem::take(&mut bench.output)[..];
        if sent.is_empty() && heard.is_empty() {
            return text;
        }
        while !heard.is_empty() {
            client.read_tls(&mut heard).unwrap();
            client.process_new_packets().unwrap();
            // It ends with "would block", since the connection goes on.
            let _ = client.reader().read_to_end(&mut text);
        }
    }
}

#[test]
fn tls_carries_messages_cut_anywhere() {
    use std::io::Write;
    for piece in [1, 7, 100_000] {
        let (session, mut client) = tls();
        let mut bench = Bench::new(Transport::Tls, Some(session));
        assert!(!bench.connection.is_open());
        exchange(&mut bench, &mut client, piece);
        assert!(bench.connection.is_open(), "{piece}");
        client.writer().write_all(&MESSAGE.repeat(3)).unwrap();
        assert_eq!(exchange(&mut bench, &mut client, piece), b"okokok");
        assert_eq!(bench.messages.len(), 3);
        assert_eq!(bench.connection.buffer_bytes(), 0);
        client.send_close_notify();
        exchange(&mut bench, &mut client, piece);
        assert_eq!(bench.over, Some(CloseReason::ByPeer));
    }
}

#[test]
fn what_is_no_tls_hears_an_alert_and_is_over() {
    let (session, _) = tls();
    let mut bench = Bench::new(Transport::Tls, Some(session));
    bench.turn(b"REGISTER sip:a.test SIP/2.0\r\n");
    assert_eq!(bench.over, Some(CloseReason::Tls));
    bench.connection.say_goodbye(CloseReason::Tls);
    // A fatal alert: content type 21.
    assert_eq!(bench.output.first(), Some(&21));
}

#[test]
fn a_client_without_the_certificate_that_is_demanded_hears_an_alert() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (session, mut client) = tls_of(&[version], true);
        let mut bench = Bench::new(Transport::Tls, Some(session));
        let mut refused = false;
        for _ in 0..4 {
            let mut sent = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut sent).unwrap();
            }
            bench.turn(&sent);
            let mut heard = &std::mem::take(&mut bench.output)[..];
            while !heard.is_empty() && !refused {
                client.read_tls(&mut heard).unwrap();
                refused = client.process_new_packets().is_err();
            }
        }
        assert_eq!(bench.over, Some(CloseReason::Tls));
        assert!(refused, "{version:?}: no alert");
    }
}

#[test]
fn a_ping_is_two_line_ends_or_a_frame_and_waits_for_the_handshakes() {
    let mut stream = Bench::new(Transport::Tcp, None);
    stream.connection.ping().unwrap();
    stream.turn(b"");
    assert_eq!(stream.output, b"\r\n\r\n");

    let mut web = Bench::new(Transport::Ws, None);
    assert_eq!(web.connection.ping(), Err(NotOpen));
    web.turn(UPGRADE);
    web.output.clear();
    web.connection.ping().unwrap();
    // Its pong is no message and is not answered.
    web.turn(&frame(10, b""));
    assert_eq!((&web.output[..], web.messages.len()), (&[0x89, 0][..], 0));

    let (session, mut client) = tls();
    let mut secure = Bench::new(Transport::Tls, Some(session));
    assert_eq!(secure.connection.ping(), Err(NotOpen));
    exchange(&mut secure, &mut client, 100_000);
    secure.connection.ping().unwrap();
    secure.turn(b"");
    assert_eq!(exchange(&mut secure, &mut client, 100_000), b"\r\n\r\n");
}

#[test]
fn a_message_to_a_connection_that_is_not_open_is_not_taken() {
    let (session, mut client) = tls();
    let mut bench = Bench::new(Transport::Tls, Some(session));
    assert!(bench.connection.send(b"SIP").is_err());
    exchange(&mut bench, &mut client, 1000);
    assert!(bench.connection.send(b"SIP").is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_bytes_in_any_pieces_end_or_wait_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        cuts in proptest::collection::vec(1usize..50, 1..20),
        which in 0usize..3,
        greeted in any::<bool>(),
    ) {
        let session = (which == 2).then(|| tls().0);
        let transport = [Transport::Tcp, Transport::Ws, Transport::Tls][which];
        let mut bench = Bench::new(transport, session);
        if greeted {
            bench.turn([MESSAGE, UPGRADE, b"\x16\x03\x01"][which]);
        }
        let mut at = 0;
        for cut in cuts {
            let end = bytes.len().min(at + cut);
            if bench.over.is_none() {
                bench.turn(&bytes[at..end]);
            }
            at = end;
        }
        prop_assert!(bench.connection.buffer_bytes() <= 4 * bytes.len() + 4 * UPGRADE.len());
    }

    /// Handshakes that somebody on the way, or the client itself, has tampered with.
    #[test]
    fn tampered_handshakes_end_or_wait_without_panic(
        tls12 in any::<bool>(),
        demanding in any::<bool>(),
        piece in 1usize..2000,
        which in 0usize..3,
        at in any::<prop::sample::Index>(),
        with in proptest::collection::vec(any::<u8>(), 0..40),
        how in 0usize..4,
    ) {
        let version = if tls12 { &rustls::version::TLS12 } else { &rustls::version::TLS13 };
        let (session, mut client) = tls_of(&[version], demanding);
        let mut bench = Bench::new(Transport::Tls, Some(session));
        for flight in 0..3 {
            let mut sent = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut sent).unwrap();
            }
            if flight == which && !sent.is_empty() {
                let at = at.index(sent.len());
                match how {
                    0 => sent[at] ^= with.first().copied().unwrap_or(1).max(1),
                    1 => drop(sent.splice(at..at, with.iter().copied())),
                    2 => sent.truncate(at),
                    _ => sent.extend_from_within(at..),
                }
            }
            for bytes in sent.chunks(piece) {
                if bench.over.is_none() {
                    bench.turn(bytes);
                }
            }
            let _ = bench.connection.send(b"whatever");
            let mut heard = &std::mem::take(&mut bench.output)[..];
            while !heard.is_empty() {
                client.read_tls(&mut heard).unwrap();
                if client.process_new_packets().is_err() {
                    break;
                }
            }
        }
        bench.connection.say_goodbye(bench.over.unwrap_or(CloseReason::Idle));
    }
}
