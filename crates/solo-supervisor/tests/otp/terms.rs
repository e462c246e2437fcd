//! Writes Erlang's external term format: the few kinds of terms of which scripts consist.
//!
//! Source: Erlang ERTS User's Guide, "External Term Format".

/// A term.
#[derive(Debug, Clone)]
pub(crate) enum Term {
    Atom(&'static str),
    Binary(String),
    Integer(u32),
    List(Vec<Term>),
    Tuple(Vec<Term>),
}

impl Term {
    pub(crate) fn boolean(value: bool) -> Self {
        Self::Atom(if value { "true" } else { "false" })
    }

    /// The term with its version, as `binary_to_term` reads it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![131];
        self.write(&mut bytes);
        bytes
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Atom(name) => {
                bytes.extend([119, u8::try_from(name.len()).expect("a short atom")]);
                bytes.extend(name.as_bytes());
            }
            Self::Binary(text) => {
                bytes.push(109);
                write_length(bytes, text.len());
                bytes.extend(text.as_bytes());
            }
            Self::Integer(number) => {
                bytes.push(98);
                bytes.extend(i32::try_from(*number).expect("a small number").to_be_bytes());
            }
            Self::List(items) => {
                if !items.is_empty() {
                    bytes.push(108);
                    write_length(bytes, items.len());
                    items.iter().for_each(|item| item.write(bytes));
                }
                bytes.push(106);
            }
            Self::Tuple(items) => {
                bytes.extend([104, u8::try_from(items.len()).expect("a small tuple")]);
                items.iter().for_each(|item| item.write(bytes));
            }
        }
    }
}

fn write_length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend(u32::try_from(length).expect("a short term").to_be_bytes());
}
