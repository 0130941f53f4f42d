//! `aorta serve` as a process, and the sockets that talk to it. Nothing here sleeps: a wait ends
//! with what is awaited, with the end of the process, or with a deadline far above what anything
//! takes.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::Response;

/// Only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(30);

/// Which stream a line was written to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stream {
    Out,
    Err,
}

/// A child and what it has written. Dropping it kills it.
pub struct Process {
    child: Child,
    lines: Receiver<(Stream, String)>,
    /// Lines of standard output so far.
    pub out: Vec<String>,
    /// Lines of standard error so far.
    pub err: Vec<String>,
}

impl Process {
    /// Starts `aorta` with these arguments.
    pub fn start(arguments: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
        command.args(arguments);
        Process::spawn(command)
    }

    /// Starts it by a command of the caller's.
    pub fn spawn(mut command: Command) -> Process {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built server starts");
        let (sender, lines) = channel();
        forward(child.stdout.take().expect("piped"), Stream::Out, sender.clone());
        forward(child.stderr.take().expect("piped"), Stream::Err, sender);
        Process { child, lines, out: Vec::new(), err: Vec::new() }
    }

    /// Reads on until `wanted` accepts a line; `None` when the process has ended before.
    pub fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok((stream, line)) => {
                    match stream {
                        Stream::Out => self.out.push(line.clone()),
                        Stream::Err => self.err.push(line.clone()),
                    }
                    if wanted(&line) {
                        return Some(line);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("aorta hangs\nout: {:#?}\nerr: {:#?}", self.out, self.err)
                }
            }
        }
    }

    /// Waits for its end.
    pub fn finish(&mut self) -> ExitStatus {
        self.wait_for(|_| false);
        self.child.wait().expect("it was started")
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.is_ok_and(|status| status.success()), "{kill}");
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail where the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(stream: impl Read + Send + 'static, which: Stream, to: Sender<(Stream, String)>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if to.send((which, line)).is_err() {
                return;
            }
        }
    });
}

/// A server that answers, with test accounts u1 to u200.
pub struct Server {
    pub process: Process,
    /// Where it listens, in the order asked for.
    pub targets: Vec<SocketAddr>,
}

impl Server {
    /// Starts `aorta serve` with these arguments beside the test accounts, and waits until it
    /// serves. `None` where the host refuses io_uring or locked memory, said aloud.
    pub fn start(arguments: &[&str]) -> Option<Server> {
        Server::start_bare(&[&["--test-accounts", "200"], arguments].concat())
    }

    /// The same without test accounts.
    pub fn start_bare(arguments: &[&str]) -> Option<Server> {
        // Phones of tests are asked nothing they do not expect, unless the test says otherwise.
        let all = [&["serve", "--set", "liveness.interval=0"], arguments].concat();
        let mut process = Process::start(&all);
        if process.wait_for(|line| line == "ready").is_none() {
            let said = process.err.join("\n");
            let required = std::env::var("AORTA_REQUIRE_IO_URING").is_ok_and(|value| value == "1");
            if !required && (said.contains("io_uring") || said.contains("memlock")) {
                skipped(&said);
                return None;
            }
            panic!("aorta {all:?} did not start:\n{said}");
        }
        let targets = process
            .out
            .iter()
            .filter_map(|line| line.strip_prefix("listening ")?.split_once(' '))
            .map(|(_, address)| address.parse().expect("an address"))
            .collect();
        Some(Server { process, targets })
    }

    /// Where it listens first.
    pub fn target(&self) -> SocketAddr {
        self.targets[0]
    }

    /// Ends it as a supervisor does, and gives the counters it ends with.
    pub fn stop(self) -> FinalCounters {
        self.process.signal("TERM");
        self.ended()
    }

    /// Waits until it has ended well.
    pub fn ended(mut self) -> FinalCounters {
        let status = self.process.finish();
        let Process { out, err, .. } = &self.process;
        assert!(status.success(), "{status}\nout: {out:#?}\nerr: {err:#?}");
        let ready = out.iter().position(|line| line == "ready").expect("it was ready");
        FinalCounters::parse(&out[ready + 1..])
    }
}

/// Says what is not tested, past the test runner's capture, which would hide it.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: the host refuses what the server needs: {why}");
}

/// The counters a server ends with. What is not there is 0.
#[derive(Debug)]
pub struct FinalCounters {
    named: BTreeMap<String, u64>,
    statuses: BTreeMap<u16, u64>,
}

impl FinalCounters {
    fn parse(lines: &[String]) -> FinalCounters {
        let mut named = BTreeMap::new();
        let mut statuses = BTreeMap::new();
        // These lines have times as well as counts.
        let is_times = |line: &&String| {
            ["keepalives ", "round trips ", "service times ", "  "]
                .iter()
                .any(|start| line.starts_with(start))
        };
        let counts = lines.iter().filter(|line| !is_times(line));
        for part in counts.flat_map(|line| line.split(", ")) {
            let part = part.trim_start_matches("not answered: ").trim_start_matches("refused: ");
            if let Some((status, count)) = part.split_once(": ") {
                statuses.insert(status.parse().expect(part), count.parse().expect(part));
            } else {
                let (name, count) = part.split_once(' ').expect(part);
                named.insert(name.to_owned(), count.parse().expect(part));
            }
        }
        assert!(named.contains_key("answered"), "{lines:#?}");
        FinalCounters { named, statuses }
    }

    /// The counter of that name.
    pub fn of(&self, name: &str) -> u64 {
        self.named.get(name).copied().unwrap_or(0)
    }

    /// Answers with that status.
    pub fn answered(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }
}

/// A socket connected to the server: it hears what comes from exactly that address and port, and
/// nothing else.
pub struct Wire {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Wire {
    pub fn to(target: SocketAddr) -> Wire {
        Wire::from(if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }, target)
    }

    /// One from an address of this side's choice.
    pub fn from(local: &str, target: SocketAddr) -> Wire {
        let socket = UdpSocket::bind(local).expect("a port");
        socket.connect(target).expect("a route to loopback");
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Wire { socket, to: target }
    }

    /// This side's address.
    pub fn local(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    pub fn send(&self, bytes: &[u8]) {
        let sent = self.socket.send(bytes).unwrap_or_else(|error| panic!("{}: {error}", self.to));
        assert_eq!(sent, bytes.len());
    }

    pub fn receive(&self) -> Response {
        Response::parse(&self.receive_bytes())
    }

    /// Whatever comes next.
    pub fn receive_bytes(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let length = match self.socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) => panic!("no answer from {} to {}: {error}", self.to, self.local()),
        };
        buffer.truncate(length);
        buffer
    }

    /// The answer to a request, told by Call-ID and CSeq.
    pub fn ask(&self, request: &str) -> Response {
        self.send(request.as_bytes());
        let response = self.receive();
        for name in ["Call-ID", "CSeq"] {
            let asked = request.split(&format!("\r\n{name}: ")).nth(1).expect("it is there");
            let asked = asked.split("\r\n").next();
            assert_eq!(response.header(&name.to_ascii_lowercase()), asked, "{request}");
        }
        response
    }
}
