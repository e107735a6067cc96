import { readlinkSync } from 'node:fs'
import { type Finished, type ProcessOptions, type Started, succeed, until } from './process.js'

/** What a container needs of its host (host.ts). */
export interface ContainerHost {
  readonly containers: Container[]
  start(argv: readonly string[], options: ProcessOptions, netns: string): Started
  output(argv: readonly string[]): Promise<string>
  path(inside: string): string
}

/** A network namespace of a test host, under the name a runtime would give it. */
export class Container {
  readonly host: ContainerHost
  readonly name: string

  constructor(host: ContainerHost, name: string) {
    this.host = host
    this.name = name
  }

  /** CNI_NETNS as most runtimes write it. */
  get netns(): string {
    return `/run/netns/${this.name}`
  }

  /** Starts a command in the container's network namespace; files are the host's. */
  start(argv: readonly string[], options: ProcessOptions = {}): Started {
    return this.host.start(argv, options, this.host.path(this.netns))
  }

  /** Runs a command in the container to its end, whatever its exit status. */
  exec(argv: readonly string[], options: ProcessOptions = {}): Promise<Finished> {
    return this.start(argv, options).finished
  }

  /** Runs a command that must succeed and returns what it printed. */
  async output(argv: readonly string[], options: ProcessOptions = {}): Promise<string> {
    return succeed(argv, await this.exec(argv, options))
  }

  /** Runs several `ip` commands in one process. */
  async batch(commands: readonly string[]): Promise<void> {
    await this.output(['ip', '-batch', '-'], { stdin: `${commands.join('\n')}\n` })
  }

  /** Starts a process in the container that lives until the host goes; returns /proc/PID/ns/net, CRI-style. */
  async netnsOfProcess(): Promise<string> {
    const { child } = this.start(['cat'], { keepOpen: true, deadline: 600_000 })
    const own = readlinkSync('/proc/self/ns/net')
    const path = `/proc/${child.pid}/ns/net`
    await until('the container process is in its namespace', () => readlinkSync(path) !== own)
    return path
  }

  /** Deletes the namespace, as a node that crashed or a runtime that was too quick does before DEL. */
  async remove(): Promise<void> {
    await this.host.output(['ip', 'netns', 'del', this.name])
    this.host.containers.splice(this.host.containers.indexOf(this), 1)
  }
}
