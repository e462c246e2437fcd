//! A calculator with an interface of its own, `wit/calculator.wit`: a service that knows nothing of
//! Solo and imports nothing. The JavaScript guest `calculator-js` behaves the same.

use exports::examples::calculator::ops::{Guest as Ops, Shape, Size, Summary};

wit_bindgen::generate!({ path: "wit", world: "calculator" });

struct Calculator;

impl Guest for Calculator {
    fn about() -> String {
        format!("calculator {} (Rust)", env!("CARGO_PKG_VERSION"))
    }
}

impl Ops for Calculator {
    fn add(a: i32, b: i32) -> i32 {
        a.wrapping_add(b)
    }

    fn divide(a: f64, b: f64) -> Result<f64, String> {
        if b == 0.0 { Err("division by zero".to_owned()) } else { Ok(a / b) }
    }

    fn sum(values: Vec<i64>) -> i64 {
        values.into_iter().fold(0, i64::wrapping_add)
    }

    fn describe(shape: Shape) -> String {
        match shape {
            Shape::Dot => "a dot".to_owned(),
            Shape::Circle(radius) => {
                let area = std::f64::consts::PI * radius * radius;
                format!("a circle of radius {radius} and area {area:.2}")
            }
            Shape::Rectangle(Size { width, height }) => {
                format!("a rectangle of {width} by {height} and area {:.2}", width * height)
            }
            Shape::Polygon(corners) => format!("a polygon of {} corners", corners.len()),
        }
    }

    fn statistics(values: Vec<f64>) -> Summary {
        // A list in a 32-bit memory has fewer than 2^32 elements.
        let count = u32::try_from(values.len()).unwrap_or(u32::MAX);
        if count == 0 {
            return Summary { mean: 0.0, min: 0.0, max: 0.0, count };
        }
        Summary {
            mean: values.iter().sum::<f64>() / f64::from(count),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            count,
        }
    }
}

export!(Calculator);
