/** Every version of the protocol, oldest first, and the result families they print. */
export const versions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const
export type Version = (typeof versions)[number]

export const families = {
  A: ['0.1.0', '0.2.0'],
  B: ['0.3.0', '0.3.1', '0.4.0'],
  C: ['1.0.0', '1.1.0'],
} as const satisfies Record<string, readonly Version[]>

export type Family = keyof typeof families

/** The family of a version. */
export function familyOf(version: Version): Family {
  return (['A', 'B', 'C'] as const).find((family) => (families[family] as readonly string[]).includes(version)) ?? 'A'
}
