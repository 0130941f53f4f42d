//! Programs are run by an interpreter that knows what the kernel does, and refuses what the kernel
//! refuses; the list itself is the oracle.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

/// What a program does with a datagram from `source`; `mapped` or not, the frame is the same.
/// Panics where the kernel would have refused the program.
fn passes(program: &[Instruction], source: IpAddr) -> bool {
    assert!(!program.is_empty() && program.len() <= INSTRUCTIONS_MAX);
    let (protocol, header) = match source {
        IpAddr::V4(ip) => {
            let mut header = [0u8; 20];
            header[12..16].copy_from_slice(&ip.octets());
            (IPV4, header.to_vec())
        }
        IpAddr::V6(ip) => {
            let mut header = [0u8; 40];
            header[8..24].copy_from_slice(&ip.octets());
            (IPV6, header.to_vec())
        }
    };
    let (mut at, mut accumulator) = (0usize, 0u32);
    for _ in 0..program.len() {
        let Instruction { code, jt, jf, k } = program[at];
        let jump = |holds: bool| 1 + usize::from(if holds { jt } else { jf });
        at += match code {
            LOAD_HALF => {
                assert_eq!(k, PROTOCOL_AT);
                accumulator = protocol;
                1
            }
            LOAD_WORD => {
                let offset = (k - IP_AT) as usize;
                accumulator = u32::from_be_bytes(header[offset..offset + 4].try_into().unwrap());
                1
            }
            JUMP => 1 + k as usize,
            JUMP_EQUAL => jump(accumulator == k),
            JUMP_ABOVE => jump(accumulator > k),
            JUMP_NOT_BELOW => jump(accumulator >= k),
            RETURN => return k > 0,
            other => panic!("instruction {other:#x}"),
        };
        assert!(at < program.len(), "a jump past the end");
    }
    panic!("no return");
}

/// Every jump stays within the program, which ends with a return (bpf_check_classic).
fn assert_valid(program: &[Instruction]) {
    for (at, one) in program.iter().enumerate() {
        let furthest = match one.code {
            JUMP => one.k as usize,
            JUMP_EQUAL | JUMP_ABOVE | JUMP_NOT_BELOW => usize::from(one.jt.max(one.jf)),
            _ => continue,
        };
        assert!(at + 1 + furthest < program.len(), "instruction {at} jumps out");
    }
    assert_eq!(program.last().map(|last| last.code), Some(RETURN));
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn networks_of_both_families_are_dropped_and_their_neighbours_pass() {
    let list = nets(&[
        "192.0.2.1/32",
        "192.0.2.3/32",
        "198.51.100.0/24",
        "255.255.255.255/32",
        "0.0.0.0/32",
        "2001:db8:1:2::/64",
        "2001:db8:1:4::/62",
        "2001:db8:ffff::7/128",
        "fc00::/7",
    ]);
    let program = program(&list, INSTRUCTIONS_MAX).unwrap();
    assert_valid(&program);
    for dropped in [
        "192.0.2.1",
        "192.0.2.3",
        "198.51.100.0",
        "198.51.100.255",
        "255.255.255.255",
        "0.0.0.0",
        "2001:db8:1:2::1",
        "2001:db8:1:2:ffff:ffff:ffff:ffff",
        "2001:db8:1:7::1",
        "2001:db8:ffff::7",
        "fdff::1",
    ] {
        assert!(!passes(&program, ip(dropped)), "{dropped}");
    }
    for passed in [
        "192.0.2.0",
        "192.0.2.2",
        "192.0.2.4",
        "198.51.99.255",
        "198.51.101.0",
        "0.0.0.1",
        "2001:db8:1:3::1",
        "2001:db8:1:1:ffff::",
        "2001:db8:1:8::",
        "2001:db8:ffff::6",
        "2001:db8:ffff::8",
        "fe00::",
        "::ffff:192.0.2.1",
    ] {
        assert!(passes(&program, ip(passed)), "{passed}");
    }
}

#[test]
fn an_empty_list_passes_everything_and_whole_families_pass_nothing() {
    let none = program(&[], INSTRUCTIONS_MAX).unwrap();
    assert_valid(&none);
    let all = program(&nets(&["0.0.0.0/0", "::/0"]), INSTRUCTIONS_MAX).unwrap();
    assert_valid(&all);
    for source in ["10.0.0.1", "2001:db8::1", "255.255.255.255", "::"] {
        assert!(passes(&none, ip(source)) && !passes(&all, ip(source)), "{source}");
    }
}

#[test]
fn thousands_of_single_addresses_fit_and_what_does_not_fit_is_left_out_from_the_end() {
    let host = |number: u32| -> IpNet {
        let scattered = 0x0b00_0000 + number.wrapping_mul(0x9e37_79b9) % 0x6000_0000;
        IpAddr::from(scattered.to_be_bytes()).into()
    };
    let list: Vec<IpNet> = (0..10_000).map(host).collect();
    let (program, kept) = program_of_most(&list, INSTRUCTIONS_MAX);
    assert_valid(&program);
    assert!(kept >= 2500, "{kept}");
    for (number, net) in list.iter().enumerate() {
        assert_eq!(passes(&program, net.addr()), number >= kept, "{number}");
    }
    let (short, few) = program_of_most(&list, 1000);
    assert!(few >= 500 && short.len() <= 1000, "{few}");
    // Not even the shortest fits: then it is no program at all.
    assert_eq!(program_of_most(&list, 3), (Vec::new(), 0));
}

#[test]
fn hundreds_of_subscribers_of_ipv6_fit() {
    let subscriber = |number: u128| -> IpNet {
        let bits = (0x2000 << 112) | ((number * 0x9e37_79b9_7f4a_7c15) % (1 << 48)) << 64;
        IpNet::new(IpAddr::from(bits.to_be_bytes()), 64).unwrap()
    };
    let list: Vec<IpNet> = (0..2000).map(subscriber).collect();
    let (program, kept) = program_of_most(&list, INSTRUCTIONS_MAX);
    assert_valid(&program);
    assert!(kept >= 700, "{kept}");
    for (number, net) in list.iter().enumerate() {
        assert_eq!(passes(&program, net.broadcast()), number >= kept, "{number}");
    }
}

fn a_net() -> impl Strategy<Value = IpNet> {
    // Few values a byte, so that networks meet and nest.
    let byte = prop_oneof![Just(0u8), Just(1), Just(127), Just(255), any::<u8>()];
    let v4 = (prop::array::uniform4(byte.clone()), 0u8..=32)
        .prop_map(|(octets, length)| IpNet::new(IpAddr::from(octets), length).unwrap().trunc());
    let v6 = (prop::array::uniform16(byte), prop_oneof![Just(64u8), 0u8..=128])
        .prop_map(|(octets, length)| IpNet::new(IpAddr::from(octets), length).unwrap().trunc());
    // Whole families would hide everything else.
    prop_oneof![v4, v6].prop_filter("narrow", |net| net.prefix_len() >= 6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_program_drops_what_the_list_contains_and_nothing_else(
        list in prop::collection::vec(a_net(), 0..120),
        sources in prop::collection::vec(a_net(), 20),
    ) {
        let (program, kept) = program_of_most(&list, INSTRUCTIONS_MAX);
        assert_valid(&program);
        let near = list.iter().flat_map(|net| {
            let (first, last) = (net.network(), net.broadcast());
            [first, last, beside(first, false), beside(last, true)]
        });
        for source in near.chain(sources.iter().map(IpNet::addr)) {
            let listed = list[..kept].iter().any(|net| net.contains(&source));
            prop_assert_eq!(passes(&program, source), !listed, "{}", source);
        }
    }
}

/// The address after or before.
fn beside(ip: IpAddr, after: bool) -> IpAddr {
    let step = if after { 1 } else { u128::MAX };
    match ip {
        IpAddr::V4(ip) => IpAddr::from(ip.to_bits().wrapping_add(step as u32).to_be_bytes()),
        IpAddr::V6(ip) => IpAddr::from(ip.to_bits().wrapping_add(step).to_be_bytes()),
    }
}
