//! Dense vectors in the width they are stored in, written and read as f32.
//!
//! f16 rounds to the nearest, ties to even; i8 holds whole numbers only. Both give back as f32 exactly what
//! they hold.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float16Array, Float32Array, Int8Array,
    NullBufferBuilder,
};
use arrow::datatypes::{Float16Type, Float32Type, Int8Type};
use half::f16;
use half::slice::HalfFloatSliceExt;

use super::layout;
use crate::error::{Error, Result};
use crate::types::VectorElement;

/// Whether a width holds a finite number: f16 after rounding, i8 as it is.
pub fn holds(element: VectorElement, number: f32) -> bool {
    match element {
        VectorElement::F32 => true,
        VectorElement::F16 => f16::from_f32(number).is_finite(),
        VectorElement::I8 => number.fract() == 0.0 && (-128.0..=127.0).contains(&number),
    }
}

/// Adds the numbers that little-endian bytes of a width hold; a rest of less than one number is left out.
pub fn decode(element: VectorElement, bytes: &[u8], out: &mut Vec<f32>) {
    match element {
        VectorElement::F32 => {
            let (values, _) = bytes.as_chunks::<4>();
            out.extend(values.iter().map(|value| f32::from_le_bytes(*value)));
        }
        VectorElement::F16 => {
            // In blocks, since many are converted at once.
            let (values, _) = bytes.as_chunks::<2>();
            let mut block = [f16::ZERO; 256];
            for values in values.chunks(block.len()) {
                for (place, value) in block.iter_mut().zip(values) {
                    *place = f16::from_le_bytes(*value);
                }
                widen(block.get(..values.len()).unwrap_or_default(), out);
            }
        }
        VectorElement::I8 => out.extend(bytes.iter().map(|byte| f32::from(byte.cast_signed()))),
    }
}

fn widen(values: &[f16], out: &mut Vec<f32>) {
    let start = out.len();
    out.resize(start + values.len(), 0.0);
    if let Some(room) = out.get_mut(start..) {
        values.convert_to_f32_slice(room);
    }
}

/// A column of vectors, row after row. Rows without a vector hold zeros here: ask `vector_nulls`.
#[derive(Debug, Clone, Copy)]
pub struct VectorColumn<'a> {
    values: Values<'a>,
    dims: usize,
    rows: usize,
}

#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    I8(&'a [i8]),
}

impl<'a> VectorColumn<'a> {
    /// Resolves a column; `None` if it holds anything else.
    pub fn of(array: &'a dyn Array) -> Option<Self> {
        let list = array.as_fixed_size_list_opt()?;
        let dims = usize::try_from(list.value_length()).ok()?;
        let rows = list.len();
        // Slicing a list slices its child too, so the child holds exactly these rows.
        let n_values = rows.checked_mul(dims)?;
        let child = list.values();
        let values = if let Some(child) = child.as_primitive_opt::<Float32Type>() {
            Values::F32(child.values().get(..n_values)?)
        } else if let Some(child) = child.as_primitive_opt::<Float16Type>() {
            Values::F16(child.values().get(..n_values)?)
        } else {
            let child = child.as_primitive_opt::<Int8Type>()?;
            Values::I8(child.values().get(..n_values)?)
        };
        Some(Self { values, dims, rows })
    }

    /// Numbers of a vector.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The width of its numbers.
    pub fn element(&self) -> VectorElement {
        match self.values {
            Values::F32(_) => VectorElement::F32,
            Values::F16(_) => VectorElement::F16,
            Values::I8(_) => VectorElement::I8,
        }
    }

    /// The vectors of some rows, one after the other; converted into `scratch` where they are no f32.
    /// Empty if a row is out of range.
    pub fn rows<'s>(&self, rows: Range<usize>, scratch: &'s mut Vec<f32>) -> &'s [f32]
    where
        'a: 's,
    {
        let range = self.range(rows);
        scratch.clear();
        match self.values {
            Values::F32(values) => return values.get(range).unwrap_or_default(),
            Values::F16(values) => widen(values.get(range).unwrap_or_default(), scratch),
            Values::I8(values) => {
                let values = values.get(range).unwrap_or_default();
                scratch.extend(values.iter().map(|value| f32::from(*value)));
            }
        }
        scratch
    }

    /// All vectors, one after the other.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut scratch = Vec::new();
        self.rows(0..self.rows, &mut scratch).to_vec()
    }

    /// The vectors of some rows as they are stored: little-endian, one after the other. Empty if a row is
    /// out of range.
    pub fn bytes(&self, rows: Range<usize>) -> Cow<'a, [u8]> {
        let range = self.range(rows);
        match self.values {
            Values::F32(values) => {
                let values = values.get(range).unwrap_or_default();
                little_endian(values, bytemuck::cast_slice(values), |value| {
                    value.to_le_bytes()
                })
            }
            Values::F16(values) => {
                let values = values.get(range).unwrap_or_default();
                let bits = values.reinterpret_cast();
                little_endian(bits, bytemuck::cast_slice(bits), |bits| bits.to_le_bytes())
            }
            Values::I8(values) => {
                Cow::Borrowed(bytemuck::cast_slice(values.get(range).unwrap_or_default()))
            }
        }
    }

    fn range(&self, rows: Range<usize>) -> Range<usize> {
        rows.start.saturating_mul(self.dims)..rows.end.saturating_mul(self.dims)
    }
}

fn little_endian<'a, T, const N: usize>(
    values: &'a [T],
    native: &'a [u8],
    bytes: impl Fn(&T) -> [u8; N],
) -> Cow<'a, [u8]> {
    match cfg!(target_endian = "little") {
        true => Cow::Borrowed(native),
        false => Cow::Owned(values.iter().flat_map(bytes).collect()),
    }
}

/// Builds one column of vectors, row after row in one buffer.
#[derive(Debug)]
pub struct VectorBuilder {
    dims: usize,
    values: Buffer,
    nulls: NullBufferBuilder,
}

#[derive(Debug)]
enum Buffer {
    F32(Vec<f32>),
    F16(Vec<f16>),
    I8(Vec<i8>),
}

impl VectorBuilder {
    /// Makes an empty column with room for `rows`.
    pub fn new(dims: u32, element: VectorElement, rows: usize) -> Self {
        let dims = dims as usize;
        // Room is bounded: a schema may be wider than what the rows bring.
        let room = rows.saturating_mul(dims).min(1 << 20);
        Self {
            dims,
            values: match element {
                VectorElement::F32 => Buffer::F32(Vec::with_capacity(room)),
                VectorElement::F16 => Buffer::F16(Vec::with_capacity(room)),
                VectorElement::I8 => Buffer::I8(Vec::with_capacity(room)),
            },
            nulls: NullBufferBuilder::new(rows),
        }
    }

    /// Makes a column of rows without a vector.
    pub(super) fn nulls(dims: u32, element: VectorElement, rows: usize) -> Result<ArrayRef> {
        let mut builder = Self::new(dims, element, rows);
        (0..rows).for_each(|_| builder.push_null());
        builder.finish()
    }

    /// Makes a column of the little-endian bytes of vectors that follow one another.
    ///
    /// Errors: `Internal` if the bytes are no whole vectors.
    pub fn of_bytes(dims: u32, element: VectorElement, bytes: &[u8]) -> Result<ArrayRef> {
        let mut builder = Self::new(dims, element, 0);
        let row_bytes = builder.dims.saturating_mul(element.bytes());
        if row_bytes == 0 || !bytes.len().is_multiple_of(row_bytes) {
            let text = format!("vectors of {row_bytes} bytes: found {}", bytes.len());
            return Err(Error::internal(text));
        }
        builder.values = match element {
            VectorElement::F32 => {
                let mut values = Vec::new();
                decode(element, bytes, &mut values);
                Buffer::F32(values)
            }
            VectorElement::F16 => {
                let (values, _) = bytes.as_chunks::<2>();
                Buffer::F16(
                    values
                        .iter()
                        .map(|bytes| f16::from_le_bytes(*bytes))
                        .collect(),
                )
            }
            VectorElement::I8 => Buffer::I8(bytes.iter().map(|byte| byte.cast_signed()).collect()),
        };
        builder.nulls.append_n_non_nulls(bytes.len() / row_bytes);
        builder.finish()
    }

    /// Adds a vector. Errors: `Internal` if it has other dimensions, or a number that the width does not hold.
    pub fn push(&mut self, vector: &[f32]) -> Result<()> {
        if vector.len() != self.dims {
            return Err(Error::internal(format!(
                "vector column of {} dimensions: found {}",
                self.dims,
                vector.len()
            )));
        }
        let element = match &self.values {
            Buffer::F32(_) => VectorElement::F32,
            Buffer::F16(_) => VectorElement::F16,
            Buffer::I8(_) => VectorElement::I8,
        };
        if element != VectorElement::F32
            && let Some(number) = vector.iter().find(|number| !holds(element, **number))
        {
            let text = format!("vector column of {}: found {number}", element.name());
            return Err(Error::internal(text));
        }
        match &mut self.values {
            Buffer::F32(values) => values.extend_from_slice(vector),
            Buffer::F16(values) => {
                let start = values.len();
                values.resize(start + vector.len(), f16::ZERO);
                if let Some(room) = values.get_mut(start..) {
                    room.convert_from_f32_slice(vector);
                }
            }
            // Whole and in range, as just seen.
            Buffer::I8(values) => values.extend(vector.iter().map(|number| *number as i8)),
        }
        self.nulls.append_non_null();
        Ok(())
    }

    pub(super) fn push_null(&mut self) {
        let dims = self.dims;
        match &mut self.values {
            Buffer::F32(values) => values.resize(values.len() + dims, 0.0),
            Buffer::F16(values) => values.resize(values.len() + dims, f16::ZERO),
            Buffer::I8(values) => values.resize(values.len() + dims, 0),
        }
        self.nulls.append_null();
    }

    pub(super) fn finish(mut self) -> Result<ArrayRef> {
        let broken = |error| Error::internal("cannot build a column of vectors").with_source(error);
        let values: ArrayRef = match self.values {
            Buffer::F32(values) => Arc::new(Float32Array::from(values)),
            Buffer::F16(values) => Arc::new(Float16Array::new(values.into(), None)),
            Buffer::I8(values) => Arc::new(Int8Array::from(values)),
        };
        let dims = i32::try_from(self.dims)
            .map_err(|_| Error::internal(format!("vectors of {} dimensions", self.dims)))?;
        let item = layout::item_field(values.data_type().clone());
        let list = FixedSizeListArray::try_new(item, dims, values, self.nulls.finish());
        Ok(Arc::new(list.map_err(broken)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By definition: the nearest of all finite f16, ties to the even one.
    fn nearest(number: f32) -> Option<f32> {
        // From here on the next power of two would be nearer, and that is infinite.
        if number.abs() >= 65_520.0 {
            return None;
        }
        let all = (0..=u16::MAX).map(f16::from_bits);
        let all = all.filter(|value| value.is_finite());
        let apart = |value: &f16| (value.to_f64() - f64::from(number)).abs();
        all.min_by(|a, b| {
            let by_distance = apart(a).total_cmp(&apart(b));
            by_distance.then((a.to_bits() & 1).cmp(&(b.to_bits() & 1)))
        })
        .map(f16::to_f32)
    }

    fn through(element: VectorElement, numbers: &[f32]) -> Vec<f32> {
        let mut builder = VectorBuilder::new(numbers.len() as u32, element, 1);
        builder.push(numbers).expect("they fit");
        let column = builder.finish().expect("a column");
        VectorColumn::of(column.as_ref()).expect("vectors").to_f32()
    }

    #[test]
    fn f16_rounds_to_nearest_even_and_holds_nothing_beyond() {
        let mut numbers = vec![
            0.0,
            0.1,
            0.7,
            1.0,
            2_049.0,
            2_051.0,
            65_504.0,
            65_519.0,
            65_519.996,
            65_520.0,
            70_000.0,
            6e-8,
            2.9e-8,
            3e-8,
            1e-30,
            6.1e-5,
            1.000_488_3,
            1.001_464_8,
            3.4e38,
        ];
        numbers.extend((0..40).map(|step: i32| 1.37_f32.powi(step - 20) * 0.77));
        for number in numbers.iter().flat_map(|number| [*number, -number]) {
            let expected = nearest(number);
            assert_eq!(
                holds(VectorElement::F16, number),
                expected.is_some(),
                "{number}"
            );
            if let Some(expected) = expected {
                assert_eq!(
                    through(VectorElement::F16, &[number]),
                    [expected],
                    "{number}"
                );
            }
        }
    }

    #[test]
    fn i8_holds_whole_numbers_of_its_range() {
        for (number, fits) in [
            (-129.0, false),
            (-128.0, true),
            (-0.0, true),
            (0.5, false),
            (127.0, true),
            (127.5, false),
            (128.0, false),
            (f32::MIN_POSITIVE, false),
        ] {
            assert_eq!(holds(VectorElement::I8, number), fits, "{number}");
            if fits {
                assert_eq!(through(VectorElement::I8, &[number]), [number]);
            }
        }
    }

    #[test]
    fn bytes_of_every_width_decode_to_the_numbers_and_build_the_column() {
        let numbers: Vec<f32> = (0..1_200).map(|at| (at % 255) as f32 - 127.0).collect();
        for element in VectorElement::ALL {
            let mut builder = VectorBuilder::new(3, element, 400);
            for vector in numbers.chunks(3) {
                builder.push(vector).expect("they fit");
            }
            let built = builder.finish().expect("a column");
            let column = VectorColumn::of(built.as_ref()).expect("vectors");
            assert_eq!(
                (column.dims(), column.len(), column.element()),
                (3, 400, element)
            );
            let bytes = column.bytes(0..400);
            assert_eq!(bytes.len(), 1_200 * element.bytes());
            let mut decoded = Vec::new();
            decode(element, &bytes, &mut decoded);
            assert_eq!(decoded, numbers, "{element:?}");
            let again = VectorBuilder::of_bytes(3, element, &bytes).expect("whole vectors");
            assert_eq!(again.as_ref(), built.as_ref(), "{element:?}");
            let mut scratch = Vec::new();
            assert_eq!(
                column.rows(7..9, &mut scratch),
                &numbers[21..27],
                "{element:?}"
            );
            assert!(column.rows(399..401, &mut scratch).is_empty());
            assert!(VectorBuilder::of_bytes(3, element, &bytes[1..]).is_err());
        }
    }
}
