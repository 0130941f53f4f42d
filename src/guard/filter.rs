//! A program of the kernel's packet filter (classic BPF) that drops datagrams of given networks at
//! a socket, before they are queued. It owns how such a program is laid out; attaching it is the
//! shell's.
//!
//! A program is a tree: an address is compared as words of 32 bits, one level of the tree for each
//! word that matters, each level a search in sorted spans that ends in a short row of comparisons.
//! Jumps go forward only, every way ends in a return, and what matches nothing passes.

use ipnet::IpNet;

/// Longest program the kernel takes (BPF_MAXINSNS).
pub const INSTRUCTIONS_MAX: usize = 4096;

/// One instruction, as the kernel's `struct sock_filter` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What is done.
    pub code: u16,
    /// Instructions skipped where a comparison holds.
    pub jt: u8,
    /// Instructions skipped where it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// A word at an offset is loaded.
const LOAD_WORD: u16 = 0x20;
/// Half a word at an offset is loaded.
const LOAD_HALF: u16 = 0x28;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_ABOVE: u16 = 0x25;
const JUMP_NOT_BELOW: u16 = 0x35;
/// The operand is how many bytes are kept; none drops the datagram.
const RETURN: u16 = 0x06;

/// Where the kernel shows the protocol of the link's frame (SKF_AD_OFF + SKF_AD_PROTOCOL).
const PROTOCOL_AT: u32 = 0xffff_f000;
/// Where the kernel shows the IP header (SKF_NET_OFF), whatever the socket's own offset.
const IP_AT: u32 = 0xfff0_0000;
/// The source address in the header (RFC 791 3.1, RFC 8200 3).
const SOURCE_V4_AT: u32 = IP_AT + 12;
const SOURCE_V6_AT: u32 = IP_AT + 8;
/// EtherTypes of the two.
const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;

const PASS: Instruction = Instruction { code: RETURN, jt: 0, jf: 0, k: u32::MAX };
const DROP: Instruction = Instruction { code: RETURN, jt: 0, jf: 0, k: 0 };

/// Spans compared one after the other at the end of a search.
const ROW: usize = 8;

/// The program that drops what comes from `nets`, which may overlap. IPv4 networks hold for what
/// comes to a socket of IPv6 as a mapped address, too. `None` where it would be longer than
/// `instructions_max` or [`INSTRUCTIONS_MAX`].
#[must_use]
pub fn program(nets: &[IpNet], instructions_max: usize) -> Option<Vec<Instruction>> {
    let whole = IpNet::aggregate(&nets.to_vec());
    let mut v4: Vec<Span> = Vec::new();
    let mut v6: Vec<Span> = Vec::new();
    for net in whole {
        match net {
            // As the first word of 128 bits, so that both families are laid out alike.
            IpNet::V4(net) => {
                let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                let (first, last) = (u128::from(first) << 96, u128::from(last) << 96);
                v4.push((first, last | (u128::MAX >> 32)));
            }
            IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
        }
    }
    v4.sort_unstable();
    v6.sort_unstable();
    let [v4, v6] = [(v4, SOURCE_V4_AT), (v6, SOURCE_V6_AT)]
        .map(|(spans, at)| if spans.is_empty() { vec![PASS] } else { level(&spans, at, 0) });
    let load = Instruction { code: LOAD_HALF, jt: 0, jf: 0, k: PROTOCOL_AT };
    let others = branch(JUMP_EQUAL, IPV6, v6, vec![PASS]);
    let whole = [vec![load], branch(JUMP_EQUAL, IPV4, v4, others)].concat();
    (whole.len() <= instructions_max.min(INSTRUCTIONS_MAX)).then_some(whole)
}

/// The program for as many networks from the front of `nets`, the most important first, as fit
/// into `instructions_max`, and how many those are.
#[must_use]
pub fn program_of_most(nets: &[IpNet], instructions_max: usize) -> (Vec<Instruction>, usize) {
    if let Some(whole) = program(nets, instructions_max) {
        return (whole, nets.len());
    }
    // One network more may join two others and shorten the program; what is found fits, and is
    // short of the most by no more than that.
    let (mut fits, mut too_many) = (0, nets.len());
    let mut best = program(&[], instructions_max).unwrap_or_default();
    while fits + 1 < too_many {
        let half = fits + (too_many - fits) / 2;
        match program(&nets[..half], instructions_max) {
            Some(shorter) => (fits, best) = (half, shorter),
            None => too_many = half,
        }
    }
    (best, fits)
}

/// First and last address.
type Span = (u128, u128);

/// What one value of a word, or a span of values, means.
enum Found {
    /// The source is blocked.
    Dropped,
    /// The next word decides, by these instructions.
    Next(Vec<Instruction>),
}

struct Values {
    first: u32,
    last: u32,
    found: Found,
}

/// Instructions that load word `number` of the address at `at` and judge by it; the words before
/// are the same for all of `spans`, which are sorted, disjoint, and each one network.
fn level(spans: &[Span], at: u32, number: u32) -> Vec<Instruction> {
    let shift = 96 - 32 * number;
    let word = |address: u128| (address >> shift) as u32;
    let below = (1u128 << shift) - 1;
    let mut values: Vec<Values> = Vec::new();
    let mut rest = spans;
    while let Some(&(first, last)) = rest.first() {
        // A network is several values of a word, or one, or a part of one.
        if first & below == 0 && last & below == below {
            rest = &rest[1..];
            let (first, last) = (word(first), word(last));
            match values.last_mut() {
                Some(Values { last: before, found: Found::Dropped, .. })
                    if before.checked_add(1) == Some(first) =>
                {
                    *before = last;
                }
                _ => values.push(Values { first, last, found: Found::Dropped }),
            }
            continue;
        }
        let value = word(first);
        let same = rest.partition_point(|&(first, _)| word(first) == value);
        let next = level(&rest[..same], at, number + 1);
        values.push(Values { first: value, last: value, found: Found::Next(next) });
        rest = &rest[same..];
    }
    let load = Instruction { code: LOAD_WORD, jt: 0, jf: 0, k: at + 4 * number };
    [vec![load], search(&values)].concat()
}

/// Instructions that find the word among sorted values.
fn search(values: &[Values]) -> Vec<Instruction> {
    if values.len() <= ROW {
        return row(values);
    }
    let (left, right) = values.split_at(values.len() / 2);
    branch(JUMP_NOT_BELOW, right[0].first, search(right), search(left))
}

/// Instructions that compare the word with one value after the other, laid out from the end.
fn row(values: &[Values]) -> Vec<Instruction> {
    let mut tail = vec![PASS];
    // Where in the tail there is a return that drops.
    let mut drop_at: Option<usize> = None;
    for Values { first, last, found } in values.iter().rev() {
        let mut head = Vec::new();
        match found {
            Found::Next(block) => {
                tail = branch(JUMP_EQUAL, *first, block.clone(), tail);
                drop_at = None;
                continue;
            }
            Found::Dropped => {
                if last > first {
                    // Above the span: past the comparison with its beginning.
                    let past = if near(drop_at).is_some() { 1 } else { 2 };
                    head.push(Instruction { code: JUMP_ABOVE, jt: past, jf: 0, k: *last });
                }
                let code = if last > first { JUMP_NOT_BELOW } else { JUMP_EQUAL };
                match near(drop_at) {
                    Some(jt) => head.push(Instruction { code, jt, jf: 0, k: *first }),
                    None => {
                        head.push(Instruction { code, jt: 0, jf: 1, k: *first });
                        head.push(DROP);
                        drop_at = None;
                    }
                }
            }
        }
        drop_at = match drop_at {
            Some(at) => Some(at + head.len()),
            None => Some(head.len() - 1),
        };
        tail = [head, tail].concat();
    }
    tail
}

/// A distance as far as a comparison can jump.
fn near(at: Option<usize>) -> Option<u8> {
    at.and_then(|at| u8::try_from(at).ok())
}

/// `yes` where the comparison holds, else `no`.
fn branch(code: u16, k: u32, yes: Vec<Instruction>, no: Vec<Instruction>) -> Vec<Instruction> {
    let head = match u8::try_from(yes.len()) {
        Ok(jf) => vec![Instruction { code, jt: 0, jf, k }],
        Err(_) => {
            let far = Instruction { code: JUMP, jt: 0, jf: 0, k: yes.len() as u32 };
            vec![Instruction { code, jt: 1, jf: 0, k }, far]
        }
    };
    [head, yes, no].concat()
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
