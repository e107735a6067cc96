import { isObject } from '../../shared/values/object.js'
import { inRoot, listNames, type Place, readText, statOf, Unseen } from '../frame/place.js'

/** A file that is not used, and why: words that follow its name. */
export interface Unused {
  readonly path: string
  readonly why: string
}

/** Looks at files of a place; what cannot be used is noted instead of thrown. */
export class FileReader {
  readonly place: Place
  readonly unused: Unused[] = []
  #forbidden = false

  constructor(place: Place) {
    this.place = place
  }

  /** Whether another user could have seen more. */
  get isForbidden(): boolean {
    return this.#forbidden
  }

  note(path: string, why: string): void {
    this.unused.push({ path, why })
  }

  /** The text of a file; undefined where there is none, or it is not used. */
  text(path: string): string | undefined {
    return this.#try(path, () => readText(this.place, path))
  }

  /** The object that a JSON file holds. */
  json(path: string): Readonly<Record<string, unknown>> | undefined {
    const text = this.text(path)
    if (text === undefined) return undefined
    try {
      const value: unknown = JSON.parse(text)
      if (isObject(value)) return value
      this.note(path, 'is no JSON object')
    } catch (thrown) {
      if (!(thrown instanceof SyntaxError)) throw thrown
      this.note(path, text === '' ? 'is empty' : 'is no JSON')
    }
    return undefined
  }

  /** The names in a folder; none where there is none. */
  names(path: string): readonly string[] {
    return this.#try(path, () => listNames(this.place, path)) ?? []
  }

  stat(path: string) {
    return this.#try(path, () => statOf(this.place, path))
  }

  isFolder(path: string): boolean {
    return this.stat(path)?.isDirectory() ?? false
  }

  /** Where a path lies on this machine. */
  real(path: string): string {
    return inRoot(this.place, path)
  }

  #try<Value>(path: string, look: () => Value): Value | undefined {
    try {
      return look()
    } catch (thrown) {
      if (!(thrown instanceof Unseen)) throw thrown
      if (thrown.isForbidden) this.#forbidden = true
      this.note(path, thrown.message)
      return undefined
    }
  }
}

/** The member of that name if it is a text, else "". */
export function textIn(value: unknown, name: string): string {
  const found = isObject(value) ? value[name] : undefined
  return typeof found === 'string' ? found : ''
}

/** The objects in a list, if it is one. */
export function objectsIn(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.filter(isObject) : []
}
