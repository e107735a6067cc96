import type { Verb } from './environment.js'
import { CniError, codes } from './errors.js'

/** Every version of the CNI specification, oldest first. Acceptance is equality of text: "1.1" is not "1.1.0". */
export const versions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const

export type Version = (typeof versions)[number]
const newest: Version = '1.1.0'

/** Result families: versions whose results have one shape (A: ip4/ip6, B: ips with version, C: ips without). */
export type Family = 'A' | 'B' | 'C'
const families: Record<Version, Family> = {
  '0.1.0': 'A',
  '0.2.0': 'A',
  '0.3.0': 'B',
  '0.3.1': 'B',
  '0.4.0': 'B',
  '1.0.0': 'C',
  '1.1.0': 'C',
}

/** The verbs that came after 0.1.0, with the version that brought them. */
const since: Partial<Record<Verb, Version>> = { CHECK: '0.4.0', STATUS: '1.1.0', GC: '1.1.0' }

export function isVersion(text: string): text is Version {
  return Object.hasOwn(families, text)
}

export function familyOf(version: Version): Family {
  return families[version]
}

/**
 * The versions whose results have the format, as the official library lists them: absent counts as one of the first.
 */
export function versionsOf(family: Family): readonly string[] {
  const own = versions.filter((one) => families[one] === family)
  return family === 'A' ? ['', ...own] : own
}

/** The versions a plugin supports: all from `first` on. */
export function versionsSince(first: Version = '0.1.0'): readonly Version[] {
  return versions.slice(versions.indexOf(first))
}

/** What VERSION answers. */
export function printVersions(supportedVersions: readonly Version[]): string {
  return `${JSON.stringify({ cniVersion: newest, supportedVersions })}\n`
}

/**
 * The configuration's version if `verb` may run under it and the plugin supports it.
 * @throws code 1 (and 6 for a version that is no number where the verb needs an order), in the official order
 */
export function negotiate(asked: string, verb: Verb, supported: readonly Version[]): Version {
  const first = since[verb]
  if (first !== undefined) {
    const version = numbers(asked)
    if (compare(version, numbers(first)) < 0) {
      throw new CniError(codes.incompatibleVersion, `config version does not allow ${verb}`, {
        complete: true,
        hint: `${verb} needs cniVersion ${first} or later, the configuration says "${asked || '0.1.0'}"`,
      })
    }
    if (supported.every((one) => compare(numbers(one), version) < 0)) {
      throw new CniError(codes.incompatibleVersion, `plugin version does not allow ${verb}`, { complete: true })
    }
  }
  const version = asked === '' ? '0.1.0' : asked
  if (isVersion(version) && supported.includes(version)) return version
  throw new CniError(codes.incompatibleVersion, 'incompatible CNI versions', {
    complete: true,
    details: `config is "${version}", plugin supports [${supported.map((one) => `"${one}"`).join(' ')}]`,
  })
}

// --- internal

function numbers(version: string): number[] {
  const parts = (version === '' ? '0.1.0' : version).split('.')
  if (parts.length > 3) refuse(`invalid version "${version}": too many parts`)
  const found = ['major', 'minor', 'micro'].map((name, index) => {
    const part = parts[index]
    if (part === undefined) return 0
    if (!isInteger(part)) {
      const why = `strconv.Atoi: parsing "${part}": invalid syntax`
      refuse(`failed to convert ${name} version part "${part}": ${why}`)
    }
    return Number(part)
  })
  return found
}

function isInteger(text: string): boolean {
  const digits = text.startsWith('-') || text.startsWith('+') ? text.slice(1) : text
  return digits !== '' && [...digits].every((digit) => digit >= '0' && digit <= '9')
}

function compare(left: number[], right: number[]): number {
  for (let index = 0; index < 3; index++) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

function refuse(message: string): never {
  throw new CniError(codes.decodeFailure, message, { complete: true })
}
