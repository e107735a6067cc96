import { expect } from 'vitest'
import { run } from '../harness/process.js'
import { compareLines, type Snapshot } from '../harness/snapshot.js'
import type { Case, Feature } from './cases.js'
import { type Difference, differences } from './differences.js'
import { runCase } from './run-case.js'

/** The rows of the table of differences that some case has shown. */
export const seen = new Set<Difference>()

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
  expect(official.checks.includes(false), 'CHECK of the official suite fails').toBe(
    subject.officialCheckFails !== undefined,
  )
  expect(podwire.checks).not.toContain(false)
  expect(unexplained(subject.name, official.attached, podwire.attached)).toEqual([])
  expect(unexplained(subject.name, official.detached, podwire.detached)).toEqual([])
}

/** The lines that differ and that no row of the table explains, as "suite: line". */
function unexplained(name: string, official: Snapshot, podwire: Snapshot): string[] {
  const { only, others } = compareLines(official, podwire)
  const known = differences.filter(({ cases }) => cases === undefined || cases.test(name))
  const explains = (suite: 'official' | 'podwire', line: string) => {
    const row = known.find((difference) => difference[suite]?.test(line))
    if (row !== undefined) seen.add(row)
    return row !== undefined
  }
  return [
    ...only.filter((line) => !explains('official', line)).map((line) => `official: ${line}`),
    ...others.filter((line) => !explains('podwire', line)).map((line) => `podwire: ${line}`),
  ]
}
