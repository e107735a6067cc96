/** Any function. */
export type Call = (...values: never[]) => unknown

/** Node's binding of that name: `new Connection(answer)` talks to V8's inspector in this process. */
export interface InspectorBinding {
  readonly Connection: new (answer: (text: string) => void) => { dispatch(text: string): void; disconnect(): void }
}

interface Property {
  readonly name: string
  readonly value?: { readonly objectId?: string; readonly description?: string }
}
interface Properties {
  readonly result: readonly Property[]
  readonly internalProperties?: readonly Property[]
}

/** V8's inspector, which reaches what no script can: the variables of functions, and the collection of garbage. */
export function inspect({ Connection }: InspectorBinding) {
  const answers = new Map<number, { readonly result?: unknown; readonly error?: object }>()
  const connection = new Connection((text) => {
    const { id, ...answer } = JSON.parse(text)
    answers.set(id, answer)
  })
  // Objects go to and fro by way of a global variable.
  const shared = globalThis as unknown as { inspected?: unknown }

  /** It answers before it returns. */
  function ask<T>(method: string, params: object): T {
    const id = answers.size + 1
    connection.dispatch(JSON.stringify({ id, method, params }))
    const answer = answers.get(id)
    if (!answer?.result) throw new Error(`${method}: ${JSON.stringify(answer?.error)}`)
    return answer.result as T
  }

  function handleOf(object: unknown): string {
    shared.inspected = object
    return ask<{ result: { objectId: string } }>('Runtime.evaluate', { expression: 'inspected' }).result.objectId
  }

  function objectOf(objectId: string): unknown {
    ask('Runtime.callFunctionOn', { objectId, functionDeclaration: 'function () { inspected = this }' })
    return shared.inspected
  }

  const propertiesOf = (objectId: string) => ask<Properties>('Runtime.getProperties', { objectId, ownProperties: true })

  /** The object that a function closes over by the name of a variable. */
  function variable<T>(of: Call, name: string): T {
    const scopes = propertiesOf(handleOf(of)).internalProperties?.find((one) => one.name === '[[Scopes]]')
    for (const { value } of propertiesOf(scopes?.value?.objectId ?? '').result) {
      // A look at the global one would load what Node loads at first use.
      if (!value?.objectId || value.description?.startsWith('Global')) continue
      const found = propertiesOf(value.objectId).result.find((one) => one.name === name)?.value?.objectId
      if (found) return objectOf(found) as T
    }
    throw new Error(`${of.name} of this Node knows no ${name}`)
  }

  return {
    variable,
    /** Garbage is collected once no script runs. */
    collectGarbage(): void {
      connection.dispatch(JSON.stringify({ id: -1, method: 'HeapProfiler.enable' }))
      connection.dispatch(JSON.stringify({ id: -2, method: 'HeapProfiler.collectGarbage' }))
    },
    close(): void {
      delete shared.inspected
      connection.disconnect()
    },
  }
}
