//! Writes small databases in the MaxMind DB format 2.0, for tests: a binary tree of addresses of
//! 128 bits with records of 24, and the data they lead to.

use std::net::IpAddr;

use ipnet::IpNet;

/// What a record may hold.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Short(u16),
    Number(u32),
    Long(u64),
    Map(Vec<(String, Value)>),
    List(Vec<Value>),
}

impl Value {
    pub fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    pub fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
        Value::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Value::Text(text) => {
                control(out, 2, text.len());
                out.extend(text.as_bytes());
            }
            Value::Number(number) => {
                control(out, 6, 4);
                out.extend(number.to_be_bytes());
            }
            Value::Short(number) => {
                control(out, 5, 2);
                out.extend(number.to_be_bytes());
            }
            Value::Long(number) => {
                control(out, 9, 8);
                out.extend(number.to_be_bytes());
            }
            Value::Map(entries) => {
                control(out, 7, entries.len());
                for (key, value) in entries {
                    Value::text(key).write_to(out);
                    value.write_to(out);
                }
            }
            Value::List(items) => {
                control(out, 11, items.len());
                items.iter().for_each(|item| item.write_to(out));
            }
        }
    }
}

/// The control byte of a value and its length.
fn control(out: &mut Vec<u8>, kind: u8, len: usize) {
    assert!(len < 29 + 256, "longer ones are not needed");
    let short = u8::try_from(len.min(29)).unwrap();
    match kind {
        1..=7 => out.push(kind << 5 | short),
        _ => out.extend([short, kind - 7]),
    }
    if len >= 29 {
        out.push(u8::try_from(len - 29).unwrap());
    }
}

#[derive(Clone, Copy)]
enum Branch {
    Nothing,
    Node(usize),
    Data(usize),
}

/// A database of a type with these networks, made on 2026-11-01. Networks of one list that contain
/// each other are written in their order.
pub(crate) fn write(kind: &str, networks: &[(&str, Value)]) -> Vec<u8> {
    let (mut nodes, mut data) = (vec![[Branch::Nothing; 2]], Vec::new());
    for (network, value) in networks {
        let offset = data.len();
        value.write_to(&mut data);
        let network: IpNet = network.parse().expect("a network");
        let (bits, len) = match network.network() {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), network.prefix_len() + 96),
            IpAddr::V6(v6) => (v6.to_bits(), network.prefix_len()),
        };
        let mut at = 0;
        for depth in 0..len {
            let side = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == len {
                nodes[at][side] = Branch::Data(offset);
            } else if let Branch::Node(next) = nodes[at][side] {
                at = next;
            } else {
                nodes.push([nodes[at][side]; 2]);
                nodes[at][side] = Branch::Node(nodes.len() - 1);
                at = nodes.len() - 1;
            }
        }
    }
    let mut out = Vec::new();
    for node in &nodes {
        for branch in node {
            let record = match branch {
                Branch::Nothing => nodes.len(),
                Branch::Node(next) => *next,
                Branch::Data(offset) => nodes.len() + 16 + offset,
            };
            out.extend(&u32::try_from(record).unwrap().to_be_bytes()[1..]);
        }
    }
    out.extend([0; 16]);
    out.extend(data);
    out.extend(b"\xab\xcd\xefMaxMind.com");
    let nodes = u32::try_from(nodes.len()).unwrap();
    Value::map([
        ("binary_format_major_version", Value::Short(2)),
        ("binary_format_minor_version", Value::Short(0)),
        ("build_epoch", Value::Long(1_793_491_200)),
        ("database_type", Value::text(kind)),
        ("description", Value::map([("en", Value::text("made by a test"))])),
        ("ip_version", Value::Short(6)),
        ("languages", Value::List(vec![Value::text("en")])),
        ("node_count", Value::Number(nodes)),
        ("record_size", Value::Short(24)),
    ])
    .write_to(&mut out);
    out
}
