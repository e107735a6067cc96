import { wrapped } from '../tools/frame/command.js'
import { median, ratio } from './measure.js'

/** One line of the report: a figure of both suites (medians), and the median of the pairwise ratios. */
export interface Line {
  readonly what: string
  readonly podwire: number
  readonly official: number
  readonly ratio: number
  /** CPU milliseconds a call, all its processes included. */
  readonly cpu?: { readonly podwire: number; readonly official: number }
}

export interface Section {
  readonly title: string
  /** Of the figures: milliseconds of wall time when absent; empty where each line names its own. */
  readonly unit?: string
  /** How it was measured, where the title cannot say it. */
  readonly remark?: string
  readonly lines: readonly Line[]
}

/** What one call took, in milliseconds. */
export interface Cost {
  readonly ms: number
  readonly cpu: number
}

/** Markdown whose prose keeps to 120 columns; rows of tables and titles stay as they are. */
export function proseWrapped(text: string): string {
  const isProse = (line: string) => !/^[|#!]/.test(line)
  const paragraphs = text.split('\n\n').map((paragraph) => {
    const lines = paragraph.split('\n')
    return lines.every(isProse) ? wrapped(lines.join(' '), 120).join('\n') : paragraph
  })
  return paragraphs.join('\n\n')
}

/** Calls of podwire beside calls of the official suite that ran in turn with them. */
export function compared(what: string, ours: readonly Cost[], theirs: readonly Cost[]): Line {
  const wall = (costs: readonly Cost[]) => costs.map(({ ms }) => ms)
  const mean = (costs: readonly Cost[]) => costs.reduce((sum, { cpu }) => sum + cpu, 0) / costs.length
  return {
    what,
    podwire: median(wall(ours)),
    official: median(wall(theirs)),
    ratio: ratio(wall(ours), wall(theirs)),
    cpu: { podwire: mean(ours), official: mean(theirs) },
  }
}
