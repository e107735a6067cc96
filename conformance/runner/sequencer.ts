import { BaseSequencer, type TestSpecification } from 'vitest/node'

const longest = ['conformance/vm/guest.test.ts', 'conformance/roots/tools.test.ts']

/**
 * Starts first what takes longest, the virtual machine's file and then that of another root: the native tests run
 * meanwhile.
 */
export class MachineFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const rank = ({ moduleId }: TestSpecification) => {
      const place = longest.findIndex((file) => moduleId.endsWith(file))
      return place < 0 ? longest.length : place
    }
    return sorted.toSorted((one, other) => rank(one) - rank(other))
  }
}
