//! The program that picks the socket of a group, in the kernel's extended packet filter
//! (BPF_PROG_TYPE_SK_REUSEPORT, Linux 4.19): looks the sender up among the known ones, and leaves
//! the choice to the kernel's hash where it finds nothing or the socket it names is gone. It drops
//! nothing and changes nothing, so the worst it can do is to choose badly.
//!
//! Assembled by hand: these two dozen instructions need no compiler and no loader.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

/// What a sender is looked up by: its address, IPv4 mapped into IPv6, its port, and two zeros. A
/// listener of IPv6 takes no IPv4, so nobody can be taken for somebody of the other family.
pub(super) type Key = [u8; KEY_BYTES];
pub(super) const KEY_BYTES: usize = 20;
const PORT_AT: usize = 16;

/// The key of a sender. Which interface a link-local address belongs to is left out: those that
/// share one share an entry.
pub(super) fn key(source: SocketAddr) -> Key {
    let mut key = [0; KEY_BYTES];
    let ip = match source.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    key[..PORT_AT].copy_from_slice(&ip.octets());
    key[PORT_AT..PORT_AT + 2].copy_from_slice(&source.port().to_be_bytes());
    key
}

/// What is known of a sender: the reactor that owns its account, by its place in the table of
/// sockets, which the program reads; then when that was written, which it does not.
pub(super) type Value = [u8; VALUE_BYTES];
pub(super) const VALUE_BYTES: usize = 8;

/// The value of a sender.
pub(super) fn value(reactor: u32, written_s: u32) -> Value {
    let mut value = [0; VALUE_BYTES];
    value[..4].copy_from_slice(&reactor.to_ne_bytes());
    value[4..].copy_from_slice(&written_s.to_ne_bytes());
    value
}

/// The reactor of a value, and when it was written.
pub(super) fn read_value(value: Value) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value;
    (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
}

/// One instruction as the kernel takes it (`struct bpf_insn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Instruction {
    code: u8,
    /// The destination's register in one half, the source's in the other.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const _: () = assert!(size_of::<Instruction>() == 8);

/// Where the program finds what it needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    /// [`Value`]s by [`Key`].
    pub(super) senders: RawFd,
    /// Sockets of the group by the number of their reactor.
    pub(super) sockets: RawFd,
}

/// Where the senders of a family stand in the header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

// Registers: a result, the arguments of a call, one that calls leave alone, the frame.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R4: u8 = 4;
const R5: u8 = 5;
const R6: u8 = 6;
const FRAME: u8 = 10;

// Codes (linux/bpf.h, linux/bpf_common.h).
const LOAD_64: u8 = 0x79;
const LOAD_32: u8 = 0x61;
const LOAD_16: u8 = 0x69;
const STORE_32: u8 = 0x63;
const STORE_16: u8 = 0x6b;
const STORE_IMMEDIATE_32: u8 = 0x62;
const STORE_IMMEDIATE_16: u8 = 0x6a;
const LOAD_MAP: u8 = 0x18;
const MOVE: u8 = 0xbf;
const MOVE_IMMEDIATE: u8 = 0xb7;
const ADD_IMMEDIATE: u8 = 0x07;
const JUMP_IF_ABOVE: u8 = 0x2d;
const JUMP_IF_IMMEDIATE: u8 = 0x15;
const JUMP_UNLESS_IMMEDIATE: u8 = 0x55;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// What makes the immediate of [`LOAD_MAP`] the descriptor of a map.
const PSEUDO_MAP_FD: u8 = 1;

// Functions of the kernel.
const MAP_LOOKUP_ELEM: i32 = 1;
const SKB_LOAD_BYTES_RELATIVE: i32 = 68;
const SK_SELECT_REUSEPORT: i32 = 82;

/// Offsets are counted from the header of IP.
const HDR_START_NET: i32 = 1;
/// The datagram is taken: by the socket that was chosen, else by that of the hash.
const SK_PASS: i32 = 1;

// The frame: the number of a socket, then the key.
const KEY: i16 = -(KEY_BYTES as i16);
const NUMBER: i16 = KEY - 4;

// The context (`struct sk_reuseport_md`): where the datagram begins, with its UDP header, and ends.
const DATA: i16 = 0;
const DATA_END: i16 = 8;
/// Of the UDP header.
const UDP_BYTES: i32 = 8;

const fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    let registers = if cfg!(target_endian = "little") { to | from << 4 } else { to << 4 | from };
    Instruction { code, registers, offset, immediate }
}

/// The program in front of a group whose sockets are of that family.
pub(super) fn program(family: Family, tables: Tables) -> Vec<Instruction> {
    let mut program = Program(Vec::with_capacity(40));
    let mut to_the_hash = Vec::with_capacity(4);
    // The port, which lies in the datagram.
    program.push(MOVE, R6, R1, 0, 0);
    program.push(LOAD_64, R2, R1, DATA, 0);
    program.push(LOAD_64, R3, R1, DATA_END, 0);
    program.push(MOVE, R4, R2, 0, 0);
    program.push(ADD_IMMEDIATE, R4, 0, 0, UDP_BYTES);
    to_the_hash.push(program.push(JUMP_IF_ABOVE, R4, R3, 0, 0));
    program.push(LOAD_16, R4, R2, 0, 0);
    program.push(STORE_16, FRAME, R4, KEY + PORT_AT as i16, 0);
    program.push(STORE_IMMEDIATE_16, FRAME, 0, KEY + PORT_AT as i16 + 2, 0);
    // The address, which lies before it.
    let (header_at, key_at, bytes) = match family {
        Family::V4 => {
            program.push(STORE_IMMEDIATE_32, FRAME, 0, KEY, 0);
            program.push(STORE_IMMEDIATE_32, FRAME, 0, KEY + 4, 0);
            let mapped = i32::from_ne_bytes([0, 0, 0xff, 0xff]);
            program.push(STORE_IMMEDIATE_32, FRAME, 0, KEY + 8, mapped);
            (12, KEY + 12, 4)
        }
        Family::V6 => (8, KEY, 16),
    };
    program.push(MOVE, R1, R6, 0, 0);
    program.push(MOVE_IMMEDIATE, R2, 0, 0, header_at);
    program.push(MOVE, R3, FRAME, 0, 0);
    program.push(ADD_IMMEDIATE, R3, 0, 0, key_at.into());
    program.push(MOVE_IMMEDIATE, R4, 0, 0, bytes);
    program.push(MOVE_IMMEDIATE, R5, 0, 0, HDR_START_NET);
    program.push(CALL, 0, 0, 0, SKB_LOAD_BYTES_RELATIVE);
    to_the_hash.push(program.push(JUMP_UNLESS_IMMEDIATE, R0, 0, 0, 0));
    // Who is it?
    program.push_map(R1, tables.senders);
    program.push(MOVE, R2, FRAME, 0, 0);
    program.push(ADD_IMMEDIATE, R2, 0, 0, KEY.into());
    program.push(CALL, 0, 0, 0, MAP_LOOKUP_ELEM);
    to_the_hash.push(program.push(JUMP_IF_IMMEDIATE, R0, 0, 0, 0));
    program.push(LOAD_32, R1, R0, 0, 0);
    program.push(STORE_32, FRAME, R1, NUMBER, 0);
    // A socket that is gone is refused, and the hash chooses among those that are left.
    program.push(MOVE, R1, R6, 0, 0);
    program.push_map(R2, tables.sockets);
    program.push(MOVE, R3, FRAME, 0, 0);
    program.push(ADD_IMMEDIATE, R3, 0, 0, NUMBER.into());
    program.push(MOVE_IMMEDIATE, R4, 0, 0, 0);
    program.push(CALL, 0, 0, 0, SK_SELECT_REUSEPORT);
    let end = program.push(MOVE_IMMEDIATE, R0, 0, 0, SK_PASS);
    program.push(EXIT, 0, 0, 0, 0);
    for jump in to_the_hash {
        program.0[jump].offset = (end - jump - 1) as i16;
    }
    program.0
}

struct Program(Vec<Instruction>);

impl Program {
    /// Returns where the instruction stands.
    fn push(&mut self, code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> usize {
        self.0.push(instruction(code, to, from, offset, immediate));
        self.0.len() - 1
    }

    /// One of two slots.
    fn push_map(&mut self, to: u8, map: RawFd) {
        self.push(LOAD_MAP, to, PSEUDO_MAP_FD, 0, map);
        self.push(0, 0, 0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: Tables = Tables { senders: 7, sockets: 9 };

    fn bytes(program: &[Instruction]) -> Vec<String> {
        let of = |&Instruction { code, registers, offset, immediate }: &Instruction| {
            format!("{code:02x} {registers:02x} {offset} {immediate}")
        };
        program.iter().map(of).collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_program_for_ipv4_is_these_instructions() {
        let expected = [
            "bf 16 0 0",
            "79 12 0 0",
            "79 13 8 0",
            "bf 24 0 0",
            "07 04 0 8",
            "2d 34 29 0",
            "69 24 0 0",
            "6b 4a -4 0",
            "6a 0a -2 0",
            "62 0a -20 0",
            "62 0a -16 0",
            "62 0a -12 -65536",
            "bf 61 0 0",
            "b7 02 0 12",
            "bf a3 0 0",
            "07 03 0 -8",
            "b7 04 0 4",
            "b7 05 0 1",
            "85 00 0 68",
            "55 00 15 0",
            "18 11 0 7",
            "00 00 0 0",
            "bf a2 0 0",
            "07 02 0 -20",
            "85 00 0 1",
            "15 00 9 0",
            "61 01 0 0",
            "63 1a -24 0",
            "bf 61 0 0",
            "18 12 0 9",
            "00 00 0 0",
            "bf a3 0 0",
            "07 03 0 -24",
            "b7 04 0 0",
            "85 00 0 82",
            "b7 00 0 1",
            "95 00 0 0",
        ];
        assert_eq!(bytes(&program(Family::V4, TABLES)), expected);
    }

    #[test]
    fn every_way_out_leads_to_the_same_verdict() {
        for family in [Family::V4, Family::V6] {
            let program = program(family, TABLES);
            let verdict = program.len() - 2;
            let jumps = program.iter().enumerate().filter(|(_, one)| {
                [JUMP_IF_ABOVE, JUMP_IF_IMMEDIATE, JUMP_UNLESS_IMMEDIATE].contains(&one.code)
            });
            let targets: Vec<usize> = jumps.map(|(at, one)| at + 1 + one.offset as usize).collect();
            assert_eq!(targets, [verdict; 3]);
            assert_eq!(program[verdict], instruction(MOVE_IMMEDIATE, R0, 0, 0, SK_PASS));
            assert_eq!(program[verdict + 1], instruction(EXIT, 0, 0, 0, 0));
        }
    }

    #[test]
    fn a_sender_is_its_address_and_its_port() {
        let v4 = key("192.0.2.5:5060".parse().unwrap());
        assert_eq!(v4, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 5, 0x13, 0xc4, 0, 0]);
        let v6 = key("[2001:db8::7]:1".parse().unwrap());
        assert_eq!(v6, [0x20, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0, 0]);
        assert_ne!(v4, key("192.0.2.5:5061".parse().unwrap()));
        assert_ne!(v4, key("192.0.2.6:5060".parse().unwrap()));
        let scoped = |scope| std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 9, 0, scope);
        assert_eq!(key(scoped(2).into()), key(scoped(3).into()));
    }

    #[test]
    fn a_value_is_read_as_it_was_written() {
        assert_eq!(read_value(value(3, 77)), (3, 77));
        assert_eq!(value(3, 77)[..4], 3u32.to_ne_bytes(), "the program reads the first half");
    }
}
