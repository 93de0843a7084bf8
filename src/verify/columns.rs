//! Values out of a table's columns, whatever their types: as numbers, with what is wrong in words. Pure.

use super::info::{Feature, Kind};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;

/// All numbers of a column, lists one behind the other; int64 beyond 2^53 lose their last digits. A null is an error.
pub fn numbers(array: &dyn Array, into: &mut Vec<f64>) -> Result<(), String> {
    if array.null_count() > 0 {
        return Err("a null".into());
    }
    macro_rules! push {
        ($kind:ty) => {
            into.extend(array.as_primitive::<$kind>().values().iter().map(|&value| f64::from(value)))
        };
        ($kind:ty, wide) => {
            into.extend(array.as_primitive::<$kind>().values().iter().map(|&value| value as f64))
        };
    }
    match array.data_type() {
        DataType::Float16 => push!(Float16Type),
        DataType::Float32 => push!(Float32Type),
        DataType::Float64 => push!(Float64Type),
        DataType::Int8 => push!(Int8Type),
        DataType::Int16 => push!(Int16Type),
        DataType::Int32 => push!(Int32Type),
        DataType::Int64 => push!(Int64Type, wide),
        DataType::UInt8 => push!(UInt8Type),
        DataType::UInt16 => push!(UInt16Type),
        DataType::UInt32 => push!(UInt32Type),
        DataType::UInt64 => push!(UInt64Type, wide),
        DataType::Boolean => into.extend(array.as_boolean().values().iter().map(f64::from)),
        DataType::FixedSizeList(..) => numbers(array.as_fixed_size_list().values(), into)?,
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (from, to) = ends(list.value_offsets());
            numbers(&list.values().slice(from, to - from), into)?;
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let (from, to) = ends(list.value_offsets());
            numbers(&list.values().slice(from, to - from), into)?;
        }
        other => return Err(format!("values of type {}", name(other))),
    }
    Ok(())
}

/// First and last of offsets, which arrow keeps in order.
fn ends<T: Copy + TryInto<usize>>(offsets: &[T]) -> (usize, usize) {
    let at = |offset: Option<&T>| offset.and_then(|&offset| offset.try_into().ok()).unwrap_or(0);
    (at(offsets.first()), at(offsets.last()))
}

/// The numbers of one row of a column.
pub fn row(batch: &RecordBatch, column: &str, row: usize) -> Result<Vec<f64>, String> {
    let array = batch.column_by_name(column).ok_or("none")?;
    let mut values = Vec::new();
    numbers(&array.slice(row, 1), &mut values)?;
    Ok(values)
}

/// The single number of a row.
pub fn number(batch: &RecordBatch, column: &str, at: usize) -> Result<f64, String> {
    match row(batch, column, at)?[..] {
        [value] if value.is_finite() => Ok(value),
        [value] => Err(value.to_string()),
        ref values => Err(format!("{} values", values.len())),
    }
}

/// The single number of a row, whole and at least 0.
pub fn index(batch: &RecordBatch, column: &str, at: usize) -> Result<u64, String> {
    let value = number(batch, column, at)?;
    if value >= 0.0 && value.fract() == 0.0 && value < 9e15 { Ok(value as u64) } else { Err(value.to_string()) }
}

/// The texts of a row: of one, or of a list of them.
pub fn texts(batch: &RecordBatch, column: &str, at: usize) -> Result<Vec<String>, String> {
    let array = batch.column_by_name(column).ok_or("none")?.slice(at, 1);
    let list = match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(0),
        DataType::LargeList(_) => array.as_list::<i64>().value(0),
        _ => array,
    };
    if list.null_count() > 0 {
        return Err("a null".into());
    }
    match list.data_type() {
        DataType::Utf8 => Ok(list.as_string::<i32>().iter().flatten().map(str::to_owned).collect()),
        DataType::LargeUtf8 => Ok(list.as_string::<i64>().iter().flatten().map(str::to_owned).collect()),
        DataType::Utf8View => Ok(list.as_string_view().iter().flatten().map(str::to_owned).collect()),
        other => Err(format!("values of type {}", name(other))),
    }
}

/// A type in the words of pyarrow, which Rust's are close to.
pub fn name(kind: &DataType) -> String {
    match kind {
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Utf8 => "string".into(),
        DataType::Boolean => "bool".into(),
        DataType::List(item) | DataType::LargeList(item) => format!("list<{}>", name(item.data_type())),
        DataType::FixedSizeList(item, n) => format!("fixed_size_list<{}>[{n}]", name(item.data_type())),
        other => other.to_string().to_lowercase(),
    }
}

/// Whether a column's type is its feature's.
pub enum Fit {
    Right,
    /// A list of any length.
    List,
    /// The type in words that it should have.
    Wrong(String),
}

/// Whether a column can hold a feature.
pub fn fits(feature: &Feature, found: &DataType) -> Fit {
    let Kind::Numbers(element) = &feature.kind else { return Fit::Right };
    let expected =
        if feature.scalar { name(element) } else { format!("fixed_size_list<{}>[{}]", name(element), feature.values) };
    if feature.scalar {
        return if found == element { Fit::Right } else { Fit::Wrong(expected) };
    }
    let (mut inner, mut size, mut fixed) = (found, 1, true);
    loop {
        match inner {
            DataType::FixedSizeList(item, n) => {
                size *= usize::try_from(*n).unwrap_or(0);
                inner = item.data_type();
            }
            DataType::List(item) | DataType::LargeList(item) => {
                fixed = false;
                inner = item.data_type();
            }
            _ => break,
        }
    }
    match (inner == element && inner != found, fixed) {
        (true, true) if size == feature.values => Fit::Right,
        (true, false) => Fit::List,
        _ => Fit::Wrong(expected),
    }
}

/// Each row of a list of any length has as many values.
pub fn lists_are_even(column: &dyn Array, values: usize) -> bool {
    match column.data_type() {
        DataType::List(item) if !item.data_type().is_nested() => {
            column.as_list::<i32>().value_offsets().windows(2).all(|pair| (pair[1] - pair[0]) as usize == values)
        }
        DataType::LargeList(item) if !item.data_type().is_nested() => {
            column.as_list::<i64>().value_offsets().windows(2).all(|pair| (pair[1] - pair[0]) as usize == values)
        }
        _ => true,
    }
}
