//! Bounds on what a token may contain, checked before anything in it is looked at: any holder may append
//! blocks, so their content is hostile input.

/// Characters of a token: a plain one has about 400, each appended block about 250 more.
pub(crate) const TOKEN_CHARS_MAX: usize = 16 << 10;

/// Blocks of a token: hands that it went through. Each costs one signature check (50 us).
pub(crate) const BLOCKS_MAX: usize = 32;
