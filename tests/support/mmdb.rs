//! Writes small country databases in MaxMind DB format, version 2, for tests.

use ipnet::IpNet;

/// The bytes of a database in which each network has the `country.iso_code` given. Networks may be IPv4 or IPv6; a
/// longer prefix wins over a shorter one that holds it.
pub fn country_database(networks: &[(&str, &str)]) -> Vec<u8> {
    database(networks, |code| map(&[("country", map(&[("iso_code", text(code))]))]))
}

/// As [`country_database`], with records of any form: `record` makes one from the second word of each network.
pub fn database(networks: &[(&str, &str)], record: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
    let mut networks: Vec<(u128, u8, &str)> = networks
        .iter()
        .map(|(network, word)| match network.parse().unwrap() {
            // IPv4 lies at ::/96.
            IpNet::V4(v4) => (u128::from(u32::from(v4.network())), 96 + v4.prefix_len(), *word),
            IpNet::V6(v6) => (u128::from(v6.network()), v6.prefix_len(), *word),
        })
        .collect();
    networks.sort_by_key(|(_, prefix, _)| *prefix);

    let mut data = Vec::new();
    let mut nodes = vec![[Slot::Empty; 2]];
    for (address, prefix, word) in networks {
        let offset = data.len();
        data.extend(record(word));
        insert(&mut nodes, address, prefix, offset);
    }

    let mut file = Vec::new();
    for node in &nodes {
        for slot in node {
            let value = match slot {
                Slot::Empty => nodes.len(),
                Slot::Node(index) => *index,
                Slot::Data(offset) => nodes.len() + 16 + offset,
            };
            file.extend(&u32::try_from(value).unwrap().to_be_bytes()[1..]);
        }
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    file.extend(map(&[
        ("binary_format_major_version", unsigned(5, 2)),
        ("binary_format_minor_version", unsigned(5, 0)),
        ("build_epoch", unsigned_64(1_700_000_000)),
        ("database_type", text("Test-Country")),
        ("description", map(&[("en", text("made by a test"))])),
        ("ip_version", unsigned(5, 6)),
        ("languages", vec![0b0000_0001, 4, 0b0100_0010, b'e', b'n']),
        ("node_count", unsigned(6, nodes.len())),
        ("record_size", unsigned(5, 24)),
    ]));
    file
}

/// One half of a node of the search tree.
#[derive(Clone, Copy)]
enum Slot {
    Empty,
    Node(usize),
    Data(usize),
}

fn insert(nodes: &mut Vec<[Slot; 2]>, address: u128, prefix: u8, offset: usize) {
    let mut node = 0;
    for bit in 0..prefix {
        let side = (address >> (127 - bit) & 1) as usize;
        if bit + 1 == prefix {
            nodes[node][side] = Slot::Data(offset);
            return;
        }
        node = match nodes[node][side] {
            Slot::Node(index) => index,
            // What a shorter prefix put here holds for both halves.
            held => {
                nodes.push([held; 2]);
                nodes[node][side] = Slot::Node(nodes.len() - 1);
                nodes.len() - 1
            }
        };
    }
}

/// A map of fewer than 29 entries.
pub fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0b1110_0000 | u8::try_from(entries.len()).unwrap()];
    for (key, value) in entries {
        bytes.extend(text(key));
        bytes.extend(value);
    }
    bytes
}

/// A string of fewer than 29 bytes.
pub fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![0b0100_0000 | u8::try_from(text.len()).unwrap()];
    bytes.extend(text.as_bytes());
    bytes
}

/// An unsigned number of type 5 (16 bits) or 6 (32 bits), in as many bytes as it may have.
fn unsigned(kind: u8, value: usize) -> Vec<u8> {
    let length = if kind == 5 { 2 } else { 4 };
    let mut bytes = vec![kind << 5 | length];
    bytes.extend(&u32::try_from(value).unwrap().to_be_bytes()[4 - usize::from(length)..]);
    bytes
}

/// An extended type: number 9, written as 9 - 7.
fn unsigned_64(value: u64) -> Vec<u8> {
    let mut bytes = vec![8, 2];
    bytes.extend(value.to_be_bytes());
    bytes
}
