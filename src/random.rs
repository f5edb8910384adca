//! Random bytes from the cryptographic generator.

/// `N` random bytes.
///
/// # Panics
/// When the operating system gives no randomness: nothing safe can be done without it.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system random generator does not answer");
    bytes
}
