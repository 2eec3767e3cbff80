//! Damaged objects.

/// The name of a damage, and a function that returns the damaged bytes.
pub type Damage = (&'static str, fn(&[u8]) -> Vec<u8>);

/// The damages that storage, networks and people cause.
pub const DAMAGES: [Damage; 5] = [
    ("a flipped bit", |whole| {
        let mut bytes = whole.to_vec();
        bytes[whole.len() / 2] ^= 1;
        bytes
    }),
    ("a flipped bit at the end", |whole| {
        let mut bytes = whole.to_vec();
        bytes[whole.len() - 3] ^= 0x10;
        bytes
    }),
    ("truncated", |whole| whole[..whole.len() - 7].to_vec()),
    ("halved", |whole| whole[..whole.len() / 2].to_vec()),
    ("longer", |whole| [whole, b"more"].concat()),
];
