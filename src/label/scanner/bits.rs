//! Classes of bytes as bits: the fast pass that says where a closer look is worth its price.
//!
//! One bit for each of 64 bytes. The loops are plain, and of a shape that compilers turn into vector instructions.

/// One bit for each of the 64 bytes from `start` on, set where the byte is an ASCII digit. Bytes beyond the text count
/// as zero bytes.
#[inline]
pub fn digits_from(text: &[u8], start: usize) -> u64 {
    bits_from::<b'0', b'9'>(text, start)
}

/// The same for `A` to `Z`.
#[inline]
pub fn capitals_from(text: &[u8], start: usize) -> u64 {
    bits_from::<b'A', b'Z'>(text, start)
}

#[inline(always)]
fn bits_from<const FIRST: u8, const LAST: u8>(text: &[u8], start: usize) -> u64 {
    let rest = text.get(start..).unwrap_or_default();
    match rest.first_chunk::<64>() {
        Some(word) => bits_within::<FIRST, LAST>(word),
        None => {
            let mut word = [0; 64];
            for (slot, byte) in word.iter_mut().zip(rest) {
                *slot = *byte;
            }
            bits_within::<FIRST, LAST>(&word)
        }
    }
}

/// Set where the byte is one of `FIRST` to `LAST`.
#[inline]
fn bits_within<const FIRST: u8, const LAST: u8>(word: &[u8; 64]) -> u64 {
    // Bits `2 q` of each byte stand for quarter `q`. With the upper half moved up by one, bit `l` of byte `b` stands for byte
    // `b` of the eight from `8 l` on...
    let quarters = u128::from_le_bytes(quarters_within::<FIRST, LAST>(word));
    if quarters == 0 {
        return 0;
    }
    let mut bits = quarters as u64 | ((quarters >> 64) as u64) << 1;
    // ...and bit `b` of byte `l` after that: an 8 by 8 matrix of bits turned over its diagonal.
    for (distance, mask) in [(7, 0x00aa_00aa_00aa_00aa), (14, 0x0000_cccc_0000_cccc), (28, 0xf0f0_f0f0)] {
        let swap = (bits ^ (bits >> distance)) & mask;
        bits ^= swap ^ (swap << distance);
    }
    bits
}

/// In byte `b`, bits 0, 2, 4 and 6: whether byte `b` of the first, second, third and fourth quarter is within the range.
fn quarters_within<const FIRST: u8, const LAST: u8>(word: &[u8; 64]) -> [u8; 16] {
    // What is below `FIRST` wraps around, and is too far from it as well.
    let mark = |byte: u8, bit: u8| if byte.wrapping_sub(FIRST) <= LAST - FIRST { bit } else { 0 };
    let mut marks = [0; 16];
    for (b, slot) in marks.iter_mut().enumerate() {
        *slot = mark(word[b], 1) | mark(word[16 + b], 4) | mark(word[32 + b], 16) | mark(word[48 + b], 64);
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_of_a_class_are_those_of_each_byte() {
        for shift in 0..4u8 {
            let word: [u8; 64] = std::array::from_fn(|n| n as u8 + 64 * shift);
            let slow =
                |is: fn(&u8) -> bool| word.iter().rev().fold(0u64, |bits, b| bits << 1 | u64::from(is(b)));
            assert_eq!(digits_from(&word, 0), slow(u8::is_ascii_digit));
            assert_eq!(capitals_from(&word, 0), slow(u8::is_ascii_uppercase));
        }
    }

    #[test]
    fn what_lies_beyond_the_text_is_in_no_class() {
        assert_eq!(digits_from(b"x12", 1), 0b11);
        assert_eq!(digits_from(b"12", 2), 0);
        assert_eq!(digits_from(b"12", 100), 0);
    }
}
