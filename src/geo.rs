//! Where a client is: address to country.
