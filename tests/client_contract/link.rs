//! How the scripted client reaches a server: datagrams, or a connection.

use std::net::SocketAddr;

use crate::client::Client;
use crate::common::Response;
use crate::serve::{Server, Wire};

/// One way to one server.
pub enum Link {
    Udp(Wire),
    Tcp(Box<Client>),
}

impl Link {
    /// The name a Via has for it.
    pub fn via(&self) -> &'static str {
        match self {
            Link::Udp(_) => "UDP",
            Link::Tcp(_) => "TCP",
        }
    }

    /// Sends a request as it is and gives the answer as it is.
    pub fn exchange(&mut self, request: &str) -> Vec<u8> {
        match self {
            Link::Udp(wire) => {
                wire.send(request.as_bytes());
                wire.receive_bytes()
            }
            Link::Tcp(client) => {
                client.send(request.as_bytes());
                client.until(b"\r\n\r\n").expect("an answer")
            }
        }
    }

    /// The answer to a request of [`Phone`](crate::common::Phone), with the Via of this link.
    pub fn ask(&mut self, request: &str) -> Response {
        let request = self.with_via(request);
        Response::parse(&self.exchange(&request))
    }

    /// The request with the Via of this link.
    pub fn with_via(&self, request: &str) -> String {
        request.replace("SIP/2.0/UDP", &format!("SIP/2.0/{}", self.via()))
    }
}

/// A server, and which of its listeners links go to.
pub struct Place<'a> {
    pub server: &'a Server,
    address: SocketAddr,
    tcp: bool,
    /// No two transports use one account.
    accounts_from: u32,
}

impl Place<'_> {
    /// A new link.
    pub fn link(&self) -> Link {
        if self.tcp {
            Link::Tcp(Box::new(Client::tcp(self.address)))
        } else {
            Link::Udp(Wire::to(self.address))
        }
    }

    /// The account of this number over this transport.
    pub fn account(&self, number: u32) -> u32 {
        self.accounts_from + number
    }
}

/// Runs `test` over UDP and over TCP at a server of two reactors with these settings.
pub fn each_link(settings: &[&str], test: impl Fn(&Place<'_>)) {
    let listen = ["--listen", "udp:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0"];
    let mut arguments = listen.to_vec();
    arguments.extend(["--reactors", "2"]);
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let Some(server) = Server::start(&arguments) else { return };
    for (tcp, accounts_from) in [(false, 0), (true, 100)] {
        eprintln!("over {}", if tcp { "TCP" } else { "UDP" });
        let address = server.targets[usize::from(tcp)];
        test(&Place { server: &server, address, tcp, accounts_from });
    }
    server.stop();
}
