//! Three hosts in network namespaces: a phone's, a NAT's, a registrar's, joined by veth links.
//! Everything here runs within a mount and network namespace that ends with the process.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// The command that gives a program namespaces of its own, as root or without; `None` where there
/// is no such command, or one of the tools is missing.
pub fn unshare() -> Option<&'static [&'static str]> {
    const WAYS: [&[&str]; 2] = [&["unshare", "-mn"], &["unshare", "-Urmn"]];
    let tools = "command -v ip && command -v nft && command -v nsenter && command -v mount";
    let works = |way: &&&[&str]| {
        let mut command = Command::new(way[0]);
        command.args(&way[1..]).args(["sh", "-c", tools]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    WAYS.iter().find(works).copied()
}

/// The hosts. They end with the process.
pub struct Hosts(());

const LINKS: &str = "
mount -t tmpfs none /run
for host in phone nat registrar; do ip netns add $host; done
ip link add lan0 netns phone type veth peer name lan netns nat
ip link add wan0 netns registrar type veth peer name wan netns nat
ip -n phone addr add 10.0.0.2/24 dev lan0
ip -n nat addr add 10.0.0.1/24 dev lan
ip -n nat addr add 198.51.100.1/24 dev wan
ip -n registrar addr add 198.51.100.2/24 dev wan0
ip -n phone link set lo up
ip -n phone link set lan0 up
ip -n nat link set lan up
ip -n nat link set wan up
ip -n registrar link set lo up
ip -n registrar link set wan0 up
ip -n phone route add default via 10.0.0.1
";

const OUTSIDE: &str = "
ip netns add outside
ip link add ext0 netns outside type veth peer name ext netns registrar
ip -n registrar addr add 203.0.113.1/24 dev ext
ip -n registrar link set ext up
ip -n outside link set ext0 up
for address in $ADDRESSES; do ip -n outside addr add $address/24 dev ext0; done
ip -n outside route add 198.51.100.0/24 via 203.0.113.1
";

const MASQUERADE: &str = "
echo 1 > /proc/sys/net/ipv4/ip_forward
nft -f - <<END
table ip nat {
    chain out {
        type nat hook postrouting priority 100;
        oifname wan masquerade
    }
}
END
for timeout in udp_timeout udp_timeout_stream; do
    echo $SECONDS_OPEN > /proc/sys/net/netfilter/nf_conntrack_$timeout
done
";

impl Hosts {
    /// The registrar's address.
    pub const REGISTRAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
    /// The outside address of the NAT.
    pub const NAT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

    /// Makes the hosts; a UDP pinhole stays open this long. The error says what this machine does
    /// not allow.
    pub fn new(pinhole: Duration) -> Result<Hosts, String> {
        let mut links = Command::new("sh");
        script(&mut links, LINKS)?;
        let mut masquerade = on("nat", "sh");
        masquerade.env("SECONDS_OPEN", pinhole.as_secs().to_string());
        script(&mut masquerade, MASQUERADE)?;
        Ok(Hosts(()))
    }

    /// One host more, joined to the registrar's without a NAT, with these addresses, all of
    /// 203.0.113.0/24.
    pub fn add_outside(&self, addresses: &[Ipv4Addr]) -> Result<(), String> {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let mut links = Command::new("sh");
        links.env("ADDRESSES", addresses.join(" "));
        script(&mut links, OUTSIDE)
    }

    /// A socket of that host, connected to a server.
    pub fn outside_socket(&self, local: Ipv4Addr, server: SocketAddrV4) -> UdpSocket {
        within("outside", || {
            let socket = UdpSocket::bind((local, 0)).expect("a port");
            socket.connect(server).expect("a route to the registrar");
            socket
        })
    }

    /// A program on the registrar's host.
    pub fn on_registrar(&self, program: &str) -> Command {
        on("registrar", program)
    }

    /// A socket of the phone's host, connected to a server.
    pub fn phone_socket(&self, server: SocketAddrV4) -> UdpSocket {
        within("phone", || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
            socket.connect(server).expect("a route through the NAT");
            socket
        })
    }

    /// Whoever calls phones from the registrar's host.
    pub fn caller(&self) -> Caller {
        // With this protocol the sender writes the IP header itself.
        const RAW: i32 = 255;
        let open = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW)));
        Caller(within("registrar", open).expect("root of its namespace may"))
    }
}

/// Sends datagrams from addresses and ports that others are bound to.
pub struct Caller(Socket);

impl Caller {
    /// Sends one, as if the socket bound to `from` did.
    pub fn send(&self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
        let udp_bytes = (8 + payload.len()) as u16;
        // RFC 791 3.1: version and length, no fragment, TTL 64, UDP. The kernel writes the total
        // length, the identification and the checksum.
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend(from.ip().octets());
        packet.extend(to.ip().octets());
        // RFC 768: ports, length, and a checksum of zero for none.
        packet.extend(from.port().to_be_bytes());
        packet.extend(to.port().to_be_bytes());
        packet.extend(udp_bytes.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        let address = SockAddr::from(SocketAddr::V4(to));
        let sent = self.0.send_to(&packet, &address).expect("a route to the NAT");
        assert_eq!(sent, packet.len());
    }
}

/// A program on one of the hosts.
fn on(host: &str, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{host}")).arg(program);
    command
}

/// What a thread on one of the hosts makes; its sockets stay there.
fn within<T: Send>(host: &str, make: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let space = File::open(format!("/run/netns/{host}")).expect("the host is there");
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(space.as_fd(), kind).expect("root of it may enter");
            make()
        });
        thread.join().expect("what it makes can be made")
    })
}

/// Runs a script that ends at its first failure, which is the error.
fn script(command: &mut Command, text: &str) -> Result<(), String> {
    command.args(["-e", "-x", "-s"]).stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().expect("piped");
    // A shell that ends early says why on its own.
    let _ = stdin.write_all(text.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last: Vec<_> = said.lines().rev().take(3).collect();
            Err(last.into_iter().rev().collect::<Vec<_>>().join(" | "))
        }
    }
}
