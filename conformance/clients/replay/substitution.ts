/**
 * What recorded names are called in this run: namespace paths, hardware addresses and host ends differ from run to run.
 */
import { isObject, type Json, type JsonObject } from './samples.js'

/** Recorded strings and what stands for them now; only whole strings are replaced. */
export class Substitution {
  readonly #names = new Map<string, string>()

  learn(recorded: string, actual: string): void {
    this.#names.set(recorded, actual)
  }

  /** Pairs the interfaces of a recorded result with those of the actual one, position by position. */
  learnInterfaces(recorded: Json, actual: Json): void {
    const actualInterfaces = interfacesOf(actual)
    for (const [position, before] of interfacesOf(recorded).entries()) {
      const now = actualInterfaces[position]
      for (const key of ['name', 'mac']) {
        const [from, to] = [before[key], now?.[key]]
        if (typeof from === 'string' && typeof to === 'string') this.learn(from, to)
      }
    }
  }

  apply<T extends Json>(value: T): T
  apply(value: Json): Json {
    if (typeof value === 'string') return this.#names.get(value) ?? value
    if (Array.isArray(value)) return value.map((item) => this.apply(item))
    if (!isObject(value)) return value
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.apply(item)]))
  }
}

/** The interfaces of a result, or none for anything else. */
export function interfacesOf(result: Json): JsonObject[] {
  const interfaces = isObject(result) ? result['interfaces'] : undefined
  return Array.isArray(interfaces) ? interfaces.filter(isObject) : []
}
