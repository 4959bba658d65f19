//! Makes GGUF files for tests, whole ones and hostile ones: here, and in the daemon, which includes this file.

/// A GGUF file to be.
#[derive(Clone)]
pub struct File {
    pub version: u32,
    pub entries: Vec<(String, Entry)>,
    pub tensors: Vec<Written>,
}

/// A metadata value.
#[derive(Clone)]
pub enum Entry {
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Text(&'static str),
    Texts(Vec<String>),
    Integers(Vec<i32>),
    Floats(Vec<f32>),
    /// Type and bytes as they stand.
    Raw(u32, Vec<u8>),
}

/// A tensor of a file; its shape with the outermost dimension first.
#[derive(Clone)]
pub struct Written {
    pub name: String,
    pub shape: Vec<u64>,
    pub kind: u32,
    pub data: Vec<u8>,
    /// Where it claims to lie, if not where it does.
    pub claimed_offset: Option<u64>,
}

pub const F32: u32 = 0;
pub const F16: u32 = 1;
pub const Q4_0: u32 = 2;
pub const Q4_1: u32 = 3;
pub const Q5_0: u32 = 6;
pub const Q8_0: u32 = 8;

impl File {
    /// One of the newest version, with nothing in it.
    pub fn empty() -> Self {
        Self { version: 3, entries: Vec::new(), tensors: Vec::new() }
    }

    /// Sets or replaces a metadata value.
    pub fn set(&mut self, key: &str, entry: Entry) {
        match self.entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = entry,
            None => self.entries.push((key.to_owned(), entry)),
        }
    }

    /// Adds a metadata value, even a second one of a key.
    pub fn set_again(&mut self, key: &str, entry: Entry) {
        self.entries.push((key.to_owned(), entry));
    }

    /// Adds a tensor of arbitrary numbers.
    pub fn push(&mut self, name: &str, shape: &[u64], kind: u32) {
        let data = noise(name, shape.iter().product(), kind);
        self.tensors.push(Written { name: name.into(), shape: shape.into(), kind, data, claimed_offset: None });
    }

    /// The tensor of that name.
    pub fn tensor(&mut self, name: &str) -> &mut Written {
        self.tensors.iter_mut().find(|tensor| tensor.name == name).expect("the test names a tensor of the file")
    }

    /// The header's bytes, up to the data.
    pub fn header(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.entries.len() as u64).to_le_bytes());
        for (key, entry) in &self.entries {
            text(&mut bytes, key);
            entry.write(&mut bytes);
        }
        let mut offset = 0;
        for tensor in &self.tensors {
            text(&mut bytes, &tensor.name);
            bytes.extend((tensor.shape.len() as u32).to_le_bytes());
            bytes.extend(tensor.shape.iter().rev().flat_map(|n| n.to_le_bytes()));
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend(tensor.claimed_offset.unwrap_or(offset).to_le_bytes());
            offset += (tensor.data.len() as u64).next_multiple_of(32);
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes
    }

    /// The whole file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        for tensor in &self.tensors {
            bytes.extend(&tensor.data);
            bytes.resize(bytes.len().next_multiple_of(32), 0);
        }
        bytes
    }
}

impl Entry {
    fn write(&self, bytes: &mut Vec<u8>) {
        let mut list = |kind: u32, count: usize, items: Vec<u8>| {
            bytes.extend(9_u32.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend((count as u64).to_le_bytes());
            bytes.extend(items);
        };
        let (kind, value) = match self {
            Self::U32(number) => (4, number.to_le_bytes().to_vec()),
            Self::I32(number) => (5, number.to_le_bytes().to_vec()),
            Self::F32(number) => (6, number.to_le_bytes().to_vec()),
            Self::Bool(yes) => (7, vec![u8::from(*yes)]),
            Self::Text(value) => {
                let mut value_bytes = Vec::new();
                text(&mut value_bytes, value);
                (8, value_bytes)
            }
            Self::Texts(texts) => {
                let mut items = Vec::new();
                for item in texts {
                    text(&mut items, item);
                }
                return list(8, texts.len(), items);
            }
            Self::Integers(numbers) => {
                return list(5, numbers.len(), numbers.iter().flat_map(|n| n.to_le_bytes()).collect());
            }
            Self::Floats(numbers) => {
                return list(6, numbers.len(), numbers.iter().flat_map(|n| n.to_le_bytes()).collect());
            }
            Self::Raw(kind, value) => (*kind, value.clone()),
        };
        bytes.extend(u32::to_le_bytes(kind));
        bytes.extend(value);
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// Bytes that look random, the same for each name, with scales that are ordinary numbers.
fn noise(name: &str, count: u64, kind: u32) -> Vec<u8> {
    let mut state = name
        .bytes()
        .fold(0x9e37_79b9_7f4a_7c15_u64, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    // A 16-bit float between 2^-5 and 2^-4, of either sign.
    let half = |word: u32| ((0x2800 | (word & 0x83ff)) as u16).to_le_bytes();
    let (block, numbers, halves) = match kind {
        Q4_0 => (32, 16, 1),
        Q4_1 => (32, 16, 2),
        Q5_0 => (32, 20, 1),
        Q8_0 => (32, 32, 1),
        F16 => (1, 0, 1),
        _ => (1, 0, 2),
    };
    let mut bytes = Vec::new();
    for _ in 0..count / block {
        (0..halves).for_each(|_| bytes.extend(half(next())));
        (0..numbers).for_each(|_| bytes.push(next() as u8));
    }
    bytes
}
