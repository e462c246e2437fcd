//! What of a started component is looked at for its snapshot: functions that were added to it for that.

use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Instance, Lift, TypedFunc, WasmList};
use wasmtime_wizer::ComponentInstanceState;

/// A started component.
pub(crate) struct Started {
    pub(crate) store: Store<()>,
    pub(crate) instance: Instance,
}

impl Started {
    /// # Panics
    /// The function is not there, or of another type: the instrumentation has a defect, and the build ends.
    fn function<T: ComponentNamedList + Lift + 'static>(
        &mut self,
        instance: &str,
        function: &str,
    ) -> TypedFunc<(), T> {
        let outer = self.instance.get_export_index(&mut self.store, None, instance);
        let outer = outer.expect("the instance of the instrumentation");
        let inner = self.instance.get_export_index(&mut self.store, Some(&outer), function);
        let inner = inner.expect("the function of the instrumentation");
        self.instance.get_typed_func(&mut self.store, inner).expect("a function of its type")
    }

    async fn value<T: Lift + Send + Sync + 'static>(
        &mut self,
        instance: &str,
        function: &str,
    ) -> T {
        let function = self.function::<(T,)>(instance, function);
        function.call_async(&mut self.store, ()).await.expect("it answers").0
    }
}

impl ComponentInstanceState for Started {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        function: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        let list = self.value::<WasmList<u8>>(instance, function).await;
        contents(list.as_le_slice(&self.store));
    }

    async fn call_func_ret_s32(&mut self, instance: &str, function: &str) -> i32 {
        self.value(instance, function).await
    }

    async fn call_func_ret_s64(&mut self, instance: &str, function: &str) -> i64 {
        self.value(instance, function).await
    }

    async fn call_func_ret_f32(&mut self, instance: &str, function: &str) -> u32 {
        self.value::<f32>(instance, function).await.to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, function: &str) -> u64 {
        self.value::<f64>(instance, function).await.to_bits()
    }
}
