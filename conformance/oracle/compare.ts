import { expect } from 'vitest'
import type { OfficialSuite } from '../harness/locations.js'
import { run } from '../harness/process.js'
import { compareLines } from '../harness/snapshot.js'
import type { Case, Feature } from './cases.js'
import { differences, type Shown } from './differences.js'
import { type Outcome, runCase } from './run-case.js'

/** What some case has shown of the table of differences. */
export const seen = new Set<Shown>()

const underVeth = (type: string) => ['link add below type veth peer name far', `link add probe link below type ${type}`]

const probes: Record<Feature, string[]> = {
  vlan_filtering: ['link add probe type bridge vlan_filtering 1'],
  dummy: ['link add probe type dummy'],
  ipvlan: underVeth('ipvlan'),
  vlan: underVeth('vlan id 2'),
  vrf: ['link add probe type vrf table 10'],
}

/**
 * Whether this kernel can do a case. Asked in a namespace of its own: the answer is the same, and the machine's is left
 * alone.
 */
export async function kernelCan({ needs }: Case): Promise<boolean> {
  if (needs === undefined) return true
  const { status } = await run(['unshare', '--net', 'ip', '-batch', '-'], { stdin: `${probes[needs].join('\n')}\n` })
  return status === 0
}

/** Runs a case through both suites: results, CHECK and state must be the same but for the table of differences. */
export async function holdToOfficial(subject: Case): Promise<void> {
  const [official, podwire] = await Promise.all([runCase('official', subject), runCase('podwire', subject)])
  expect(podwire.results).toEqual(official.results)
  expectChecks(official, podwire, subject.officialCheckFails)
  expect(unexplained('official', subject.name, official, podwire)).toEqual([])
}

/** The same against v1.9.1, whose results may differ, too, where the case says what it does otherwise. */
export async function holdToFormer(subject: Case): Promise<void> {
  const former = 'official-1.9.1'
  const { formerly, officialCheckFails } = subject
  if (formerly?.refusal !== undefined) return expect(runCase(former, subject)).rejects.toThrow(formerly.refusal)
  const [official, podwire] = await Promise.all([runCase(former, subject), runCase('podwire', subject)])
  expectChecks(official, podwire, formerly?.checkFails ?? officialCheckFails)
  expect(unexplained(former, subject.name, official, podwire)).toEqual([])
}

function expectChecks(official: Outcome, podwire: Outcome, failing: string | undefined): void {
  expect(official.checks.includes(false), 'CHECK of the official suite fails').toBe(failing !== undefined)
  expect(podwire.checks).not.toContain(false)
}

/** The lines that differ and that no row of the table explains, as "suite: line". */
function unexplained(suite: OfficialSuite, name: string, official: Outcome, podwire: Outcome): string[] {
  const known = differences
    .flatMap(({ shown = [] }) => shown)
    .filter(({ cases, of: version = suite }) => (cases === undefined || cases.test(name)) && version === suite)
  const explains = (side: 'official' | 'podwire', line: string) => {
    const found = known.find((one) => one[side]?.test(line))
    if (found !== undefined) seen.add(found)
    return found !== undefined
  }
  return states.flatMap((state) => {
    const [theirs, ours] = [official, podwire].map((outcome) => outcome[state].flatMap((text) => text.split('\n')))
    const { only, others } = compareLines(theirs ?? [], ours ?? [])
    return [
      ...only.filter((line) => !explains('official', line)).map((line) => `official: ${line}`),
      ...others.filter((line) => !explains('podwire', line)).map((line) => `podwire: ${line}`),
    ]
  })
}

const states = ['results', 'attached', 'detached'] as const
